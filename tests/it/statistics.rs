//! Our statistics beside R's and scipy's, on random data sets with ties and zeros.

use crate::support::skip;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::io::Write;
use std::process::{Command, Stdio};
use uring_ablate::analysis::family::{benjamini_hochberg, holm};
use uring_ablate::analysis::signed_rank::{Interval, detectable_in, hodges_lehmann, interval, p_value, t_interval};
use uring_ablate::analysis::{rank_sum, stopping};

/// 200 data sets of 6 to 40: a third without ties, a third rounded so that there are ties, a third so coarse that there are zeros too.
fn data_sets() -> Vec<Vec<f64>> {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let set = |i: u32| {
        let size = 6 + random.next_u32() % 35;
        let shift = f64::from(i % 5) / 10.0;
        let normal = (0..size).map(|_| -> f64 { StandardNormal.sample(&mut random) });
        let coarse = |v: f64| match i % 3 {
            0 => v,
            1 => (v * 8.0).round() / 8.0 + 1.0 / 16.0,
            _ => (v * 2.0).round() / 2.0,
        };
        normal.map(|v| coarse(v + shift)).collect()
    };
    (0..200).map(set).collect()
}

fn text(sets: &[Vec<f64>]) -> String {
    sets.iter().map(|d| d.iter().map(f64::to_string).collect::<Vec<_>>().join(",") + "\n").collect()
}

/// What a program says of the data sets: numbers, line by line. `None` where it cannot run.
fn ask(program: &str, script: &str, input: &str) -> Option<Vec<Vec<f64>>> {
    let script = format!("{}/tests/data/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    // A program without its library ends before it reads.
    let _ = child.stdin.take()?.write_all(input.as_bytes());
    let output = child.wait_with_output().ok()?;
    let lines = String::from_utf8(output.stdout).unwrap();
    let numbers = |line: &str| line.split(',').map(|v| v.parse().unwrap()).collect();
    output.status.success().then(|| lines.lines().map(numbers).collect())
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_within(1e-9, ours, theirs, what);
}

fn assert_within(tolerance: f64, ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs).filter(|(_, b)| b.is_finite()) {
        assert!((a - b).abs() < tolerance, "{what}: ours {ours:?}, theirs {theirs:?}");
    }
}

fn student(d: &[f64]) -> [f64; 3] {
    let (mean, ci) = t_interval(d, 0.95).unwrap();
    [mean, ci.lo, ci.hi]
}

#[test]
fn statistics_agree_with_r() {
    let sets = data_sets();
    let Some(theirs) = ask("Rscript", "statistics.R", &text(&sets)) else {
        return skip(
            "statistics_agree_with_r",
            "R or its package exactRankTests is missing; scripts/validate-stats.sh installs them",
        );
    };
    for (d, theirs) in sets.iter().zip(&theirs) {
        let ci = interval(d, 0.95).unwrap();
        let ours = [&[p_value(d), hodges_lehmann(d).unwrap(), ci.lo, ci.hi], student(d).as_slice()].concat();
        assert_close(&ours, theirs, &format!("{d:?}"));
    }
    let p: Vec<f64> = sets.iter().map(|d| p_value(d)).collect();
    assert_close(&holm(&p), &theirs[sets.len()], "Holm");
    assert_close(&benjamini_hochberg(&p), &theirs[sets.len() + 1], "Benjamini and Hochberg");
}

#[test]
fn the_rank_sum_agrees_with_r() {
    let sets = data_sets();
    let pairs: Vec<[&[f64]; 2]> =
        sets.windows(2).map(|pair| [&pair[0][..], &pair[1][..]]).filter(|[x, y]| x.len() + y.len() < 60).collect();
    let line = |d: &[f64]| d.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let input: String = pairs.iter().map(|[x, y]| format!("{};{}\n", line(x), line(y))).collect();
    let Some(theirs) = ask("Rscript", "rank_sum.R", &input) else {
        return skip(
            "the_rank_sum_agrees_with_r",
            "R or its package exactRankTests is missing; scripts/validate-stats.sh installs them",
        );
    };
    assert!(pairs.len() > 120 && theirs.len() == pairs.len(), "{} of {} pairs", theirs.len(), pairs.len());
    for ([x, y], theirs) in pairs.iter().zip(&theirs) {
        let ci = rank_sum::interval(x, y, 0.95).unwrap();
        let ours = [rank_sum::p_value(x, y), rank_sum::shift(x, y).unwrap(), ci.lo, ci.hi];
        assert_close(&ours, theirs, &format!("{x:?} {y:?}"));
    }
}

#[test]
fn statistics_agree_with_scipy() {
    let sets = data_sets();
    let Some(theirs) = ask("/usr/bin/python3", "statistics.py", &text(&sets)) else {
        return skip("statistics_agree_with_scipy", "python3 or scipy is missing; scripts/validate-stats.sh installs them");
    };
    assert!(theirs.iter().filter(|t| t[0].is_finite()).count() > 60, "scipy judges those without ties");
    for (d, theirs) in sets.iter().zip(&theirs) {
        assert_close(&[p_value(d)], &theirs[..1], &format!("{d:?}"));
        // scipy 1.10 has Student's quantiles to nine digits only, R and we to more.
        assert_within(1e-8, &student(d), &theirs[1..], &format!("{d:?}"));
    }
}

/// A distribution that is symmetric about 0.
type Draw = fn(&mut Pcg64Mcg) -> f64;

/// The share of intervals that cover 0, over `draws` sets of `n` from a symmetric distribution around it.
fn coverage(n: usize, draws: u32, random: &mut Pcg64Mcg, draw: Draw) -> f64 {
    let covered = (0..draws).filter(|_| {
        let d: Vec<f64> = (0..n).map(|_| draw(random)).collect();
        interval(&d, 0.95).is_some_and(|ci| (ci.lo..=ci.hi).contains(&0.0))
    });
    covered.count() as f64 / f64::from(draws)
}

/// A draw of the standard normal distribution.
pub fn normal(random: &mut Pcg64Mcg) -> f64 {
    StandardNormal.sample(random)
}

/// The difference of two draws, as skewed as slices that neighbours hold up.
fn difference_of_skewed(random: &mut Pcg64Mcg) -> f64 {
    let gamma = rand_distr::Gamma::new(0.5, 1.0).unwrap();
    gamma.sample(random) - gamma.sample(random)
}

fn heavy_tailed(random: &mut Pcg64Mcg) -> f64 {
    let t = rand_distr::StudentT::new(2.0).unwrap();
    t.sample(random) - t.sample(random)
}

fn contaminated(random: &mut Pcg64Mcg) -> f64 {
    if random.next_u32().is_multiple_of(10) { 10.0 * normal(random) } else { normal(random) }
}

#[test]
fn intervals_cover_as_often_as_they_say_whatever_the_noise() {
    let shapes: [(&str, Draw); 4] = [
        ("normal", normal),
        ("difference of skewed", difference_of_skewed),
        ("heavy-tailed", heavy_tailed),
        ("contaminated", contaminated),
    ];
    let mut random = Pcg64Mcg::seed_from_u64(2);
    for n in [6, 8, 12, 20] {
        let said = interval(&vec![0.0; n], 0.95).unwrap().confidence;
        for (shape, draw) in shapes {
            let covered = coverage(n, 20_000, &mut random, draw);
            assert!((covered - said).abs() < 0.006, "{shape}, {n} rounds: {covered} covered, {said} announced");
        }
    }
}

/// Two runs of one truth: rounds of both as noisy, then of one three times as noisy as of the other.
#[test]
fn intervals_of_differences_between_runs_cover_as_often_as_they_say_where_runs_are_as_noisy() {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut covered = |n: usize, m: usize, noise: f64, draw: Draw| {
        let draws = 4000;
        let hits = (0..draws).filter(|_| {
            let (x, y): (Vec<f64>, Vec<f64>) =
                ((0..n).map(|_| draw(&mut random)).collect(), (0..m).map(|_| noise * draw(&mut random)).collect());
            rank_sum::interval(&x, &y, 0.95).is_some_and(|ci| (ci.lo..=ci.hi).contains(&0.0))
        });
        hits.count() as f64 / f64::from(draws)
    };
    for (n, m) in [(8, 8), (12, 12), (12, 24)] {
        let said = rank_sum::interval(&vec![0.0; n], &vec![0.0; m], 0.95).unwrap().confidence;
        for (shape, draw) in [("normal", normal as Draw), ("heavy-tailed", heavy_tailed), ("contaminated", contaminated)] {
            let found = covered(n, m, 1.0, draw);
            assert!((found - said).abs() < 0.013, "{shape}, {n} and {m} rounds: {found} covered, {said} announced");
        }
    }
    // As exact as this remains: an interval of 95 % is one of 94 % with as many rounds, of 90 % where the noisy run has half as many.
    let (as_many, half) = (covered(12, 12, 3.0, normal), covered(24, 12, 3.0, normal));
    assert!((0.925..0.955).contains(&as_many) && (0.88..0.92).contains(&half), "{as_many} and {half}");
}

/// The interval of a run that may stop when it is narrow enough, at the latest after 60 rounds; and after how many it stopped.
fn stopped_run(random: &mut Pcg64Mcg, draw: Draw, half_width: f64) -> (usize, Interval) {
    let d: Vec<f64> = (0..60).map(|_| draw(random)).collect();
    let seen = |n: u32| (n as usize, interval(&d[..n as usize], 1.0 - 0.05 * stopping::MISSES).unwrap());
    let narrow = |(_, ci): &(usize, Interval)| ci.hi - ci.lo <= 2.0 * half_width;
    (1..60).filter(|n| stopping::looks_after(*n)).map(seen).find(narrow).unwrap_or_else(|| seen(60))
}

/// The intervals of cells whose rounds a budget pays for where they are widest.
fn budgeted_run(random: &mut Pcg64Mcg, draws: [Draw; 3], budget: usize) -> [(usize, Interval); 3] {
    let all: [Vec<f64>; 3] = draws.map(|draw| (0..60).map(|_| draw(random)).collect());
    let seen = |cell: usize, n: u32| interval(&all[cell][..n as usize], 1.0 - 0.05 * stopping::MISSES).unwrap();
    let mut rounds = [stopping::FIRST; 3];
    while rounds.iter().sum::<u32>() as usize + stopping::EVERY as usize <= budget {
        let width = |cell: &usize| seen(*cell, rounds[*cell]).hi - seen(*cell, rounds[*cell]).lo;
        let open = (0..3).filter(|cell| rounds[*cell] + stopping::EVERY <= 60);
        let Some(widest) = open.max_by(|a, b| width(a).total_cmp(&width(b))) else { break };
        rounds[widest] += stopping::EVERY;
    }
    [0, 1, 2].map(|cell| (rounds[cell] as usize, seen(cell, rounds[cell])))
}

#[test]
fn a_budget_that_goes_where_intervals_are_widest_keeps_their_coverage() {
    let mut random = Pcg64Mcg::seed_from_u64(4);
    let runs: Vec<_> = (0..4000).map(|_| budgeted_run(&mut random, [normal, normal, difference_of_skewed], 80)).collect();
    for cell in 0..3 {
        let covered =
            runs.iter().filter(|run| (run[cell].1.lo..=run[cell].1.hi).contains(&0.0)).count() as f64 / runs.len() as f64;
        assert!((0.945..0.975).contains(&covered), "cell {cell}: {covered} covered");
    }
    let moved = runs.iter().filter(|run| run[0].0 != run[1].0).count();
    assert!(moved > 2000, "in only {moved} of 4000 runs two alike cells had different rounds, which tries nothing");
}

/// Tests of a true null at the level that a run with looks uses.
#[test]
fn a_run_that_stops_on_width_keeps_its_level() {
    let mut random = Pcg64Mcg::seed_from_u64(5);
    let level = 0.05 * stopping::MISSES;
    let alarms = (0..5000).filter(|_| {
        let d: Vec<f64> = (0..60).map(|_| normal(&mut random)).collect();
        let narrow = |n: &u32| interval(&d[..*n as usize], 1.0 - level).is_some_and(|ci| ci.hi - ci.lo <= 0.7);
        let stopped = (1..60).filter(|n| stopping::looks_after(*n)).find(narrow).unwrap_or(60);
        p_value(&d[..stopped as usize]) <= level
    });
    let rate = alarms.count() as f64 / 5000.0;
    assert!((0.03..0.058).contains(&rate), "{rate} of true nulls were called different");
}

/// What the formula of the detectable effect promises, tried on the test itself.
#[test]
fn an_effect_that_the_formula_calls_detectable_is_found_as_often_as_it_says() {
    let mut random = Pcg64Mcg::seed_from_u64(6);
    // The promise is 0.8 within 0.04; in as few rounds as 12 ranks and the steps of their p cost more.
    for (n, least) in [(12, 0.73), (20, 0.76), (24, 0.76), (30, 0.76)] {
        let size = detectable_in(1.0, n, 0.05).unwrap();
        let found = (0..10_000).filter(|_| {
            let d: Vec<f64> = (0..n).map(|_| normal(&mut random) + size).collect();
            p_value(&d) <= 0.05
        });
        let power = found.count() as f64 / 10_000.0;
        assert!((least..0.84).contains(&power), "{n} rounds: power {power}");
    }
}

#[test]
fn a_run_that_stops_on_width_keeps_its_coverage() {
    let mut random = Pcg64Mcg::seed_from_u64(3);
    for (shape, draw, half_width) in [("normal", normal as Draw, 0.35), ("difference of skewed", difference_of_skewed, 0.25)] {
        let runs: Vec<(usize, Interval)> = (0..5000).map(|_| stopped_run(&mut random, draw, half_width)).collect();
        let covered = runs.iter().filter(|(_, ci)| (ci.lo..=ci.hi).contains(&0.0)).count() as f64 / runs.len() as f64;
        let early = runs.iter().filter(|(n, _)| *n < 60).count();
        assert!((0.94..0.975).contains(&covered), "{shape}: {covered} covered");
        assert!(early > 2500, "{shape}: only {early} of 5000 stopped early, which tries nothing");
    }
}
