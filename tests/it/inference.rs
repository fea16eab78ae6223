//! The whole analysis on rounds of which the truth is known: noise that drifts, jumps and remembers, in slices of arms that take turns.

use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use uring_ablate::analysis::contrast::Metric;
use uring_ablate::analysis::effect::{Effect, Settings, analyse};
use uring_ablate::analysis::load::{Arm, Data, Trial};

const SETTINGS: Settings = Settings { delta: 0.02, alpha: 0.05, stall: 0.02 };
const ROUNDS: u32 = 12;

/// A machine, and how it is measured.
#[derive(Clone, Copy)]
struct World {
    blocks: u32,
    /// What the second arm really does, as a log ratio of throughput.
    truth: f64,
    /// Spread of the difference of two arms that lasts for a round.
    of_round: f64,
    /// Drift and long memory inside a round.
    noisy: bool,
    /// Share of the slices of each arm that a neighbour holds up.
    spikes: [f64; 2],
    /// The arms of a block in random order, or all of one arm first.
    interleaved: bool,
}

const SHARED: World = World { blocks: 30, truth: 0.0, of_round: 0.003, noisy: true, spikes: [0.03, 0.03], interleaved: true };

/// The log by which a spike lengthens a slice.
const SPIKE: f64 = 0.3;

struct Noise {
    random: Pcg64Mcg,
    slow: f64,
    fast: f64,
    drift: f64,
}

impl Noise {
    fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.random)
    }

    /// Log of how much longer the next slice takes than it should.
    fn next(&mut self, spike_share: f64) -> f64 {
        self.slow = 0.99 * self.slow + 0.03 * (1.0_f64 - 0.99 * 0.99).sqrt() * self.normal();
        self.fast = 0.9 * self.fast + 0.02 * (1.0_f64 - 0.9 * 0.9).sqrt() * self.normal();
        self.drift += 0.001;
        let spike = if f64::from(self.random.next_u32()) < spike_share * f64::from(u32::MAX) { SPIKE } else { 0.0 };
        self.slow + self.fast + self.drift + spike
    }
}

fn trials_of_round(world: &World, round: u32, random: Pcg64Mcg) -> Vec<Trial> {
    let mut noise = Noise { random, slow: 0.0, fast: 0.0, drift: 0.0 };
    let lasting = world.of_round * noise.normal();
    let mut order: Vec<(u32, u32, usize)> = Vec::new();
    for block in 0..world.blocks {
        let first = (noise.random.next_u32() & 1) as usize;
        order.extend([(block, 0, first), (block, 1, 1 - first)]);
    }
    if !world.interleaved {
        order.sort_by_key(|(block, _, arm)| (*arm, *block));
    }
    let slice = |(block, position, arm): (u32, u32, usize)| {
        let effect = if arm == 1 { world.truth + lasting } else { 0.0 };
        let noise = if world.noisy { noise.next(world.spikes[arm]) } else { 0.0 };
        let duration_s = 0.005 * (noise - effect).exp();
        Trial { round, treatment: arm, block, position, duration_s, ops: 5000.0, cpu_total_ns: Some(duration_s * 1e9) }
    };
    order.into_iter().map(slice).collect()
}

/// What the analysis says of `placebo / full` in one experiment.
fn experiment(world: &World, seed: u64) -> Effect {
    let treatments = ["full", "placebo"].map(String::from).to_vec();
    let rounds = 1..=ROUNDS;
    let arm = |round, treatment: &String| Arm {
        round,
        kind: "slices".into(),
        cell: "c".into(),
        treatment: treatment.clone(),
        outcome: "completed".into(),
        figures: [("thread_cpu_share", 1.0)].into(),
        ..Arm::default()
    };
    let arms = rounds.clone().flat_map(|round| treatments.iter().map(move |t| arm(round, t))).collect();
    let trials = rounds.flat_map(|round| trials_of_round(world, round, Pcg64Mcg::seed_from_u64(seed << 32 | u64::from(round))));
    let mut trials: Vec<Trial> = trials.collect();
    trials.sort_by_key(|t| (t.round, t.block, t.position));
    let cells = analyse(&Data { trials, treatments, arms, ..Data::default() }, &SETTINGS);
    cells[0].find("placebo", "", Metric::Iops).unwrap().clone()
}

fn share(count: u32, world: &World, wanted: impl Fn(&Effect) -> bool) -> f64 {
    (0..count).filter(|seed| wanted(&experiment(world, u64::from(*seed) + 1))).count() as f64 / f64::from(count)
}

#[test]
fn identical_arms_are_called_different_as_often_as_announced_and_order_is_what_makes_it_so() {
    let alarms = share(600, &SHARED, |e| e.p <= 0.05);
    // The signed-rank test of 12 rounds has level 0.0425: 99.9 % of all such series lie in this band.
    assert!((0.017..=0.072).contains(&alarms), "{alarms} of the experiments on identical arms raised an alarm");
    let blocked = share(100, &World { interleaved: false, ..SHARED }, |e| e.p <= 0.05);
    assert!(blocked > 0.5, "one arm after the other: only {blocked} raised an alarm");
}

#[test]
fn intervals_cover_the_truth() {
    for truth in [-0.05, 0.01] {
        // What holds up one arm more than the other is part of what it does.
        let world = World { truth, spikes: [0.02, 0.03], ..SHARED };
        let longer = world.spikes.map(|share| 1.0 + share * SPIKE.exp_m1());
        let due = truth.exp() * longer[0] / longer[1];
        let covered = share(400, &world, |e| e.bounds.is_some_and(|b| (b.lo..=b.hi).contains(&due)));
        assert!((0.92..=0.99).contains(&covered), "{covered} of the intervals covered {due}");
    }
}

#[test]
fn intervals_follow_the_rounds_and_not_the_slices() {
    let width = |blocks| {
        let world = World { blocks, of_round: 0.01, noisy: false, spikes: [0.0, 0.0], ..SHARED };
        let widths: Vec<f64> = (1..=40).map(|seed| experiment(&world, seed).bounds.map_or(0.0, |b| b.hi - b.lo)).collect();
        widths.iter().sum::<f64>() / widths.len() as f64
    };
    let (few, many) = (width(5), width(100));
    assert!((few / many - 1.0).abs() < 0.2, "{few} with 5 blocks a round, {many} with 100");
    assert!(many > 0.008, "a spread of 1 % between 12 rounds gives no interval of {many}");
}

#[test]
fn an_effect_is_found_as_often_as_the_power_formula_says() {
    let probe: Vec<f64> = (1..=40).filter_map(|seed| experiment(&SHARED, seed).mde80).collect();
    let detectable = probe.iter().sum::<f64>() / probe.len() as f64;
    let found = share(400, &World { truth: detectable.ln_1p(), ..SHARED }, |e| e.p <= 0.05);
    // The formula is Student's; ranks reach 0.73 of it with twelve rounds of normal noise.
    assert!((0.65..=0.88).contains(&found), "an effect of {detectable} was found in {found} of the experiments");
}
