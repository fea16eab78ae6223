//! How often the change-point model alarms without a change, and how soon with one, on simulated nights.

use crate::statistics::normal;
use rand_distr::{Distribution, Gamma, StudentT};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use uring_ablate::analysis::change_point::{Change, detect, lag1};

/// The noise of a night.
type Draw = fn(&mut Pcg64Mcg) -> f64;

fn heavy_tailed(random: &mut Pcg64Mcg) -> f64 {
    StudentT::new(3.0).unwrap().sample(random)
}

fn skewed(random: &mut Pcg64Mcg) -> f64 {
    Gamma::new(0.5, 1.0).unwrap().sample(random)
}

/// The first alarm of a series that is judged every night, and after how many nights.
fn first_alarm(values: &[f64]) -> Option<(usize, Change)> {
    (1..=values.len()).find_map(|nights| Some((nights, detect(&values[..nights])?)))
}

/// 15 nights to start with, the last of which is the first that is judged, and 100 more: 1 - (1 - 1 / 1000)^101 alarm, 9.6 %.
#[test]
fn false_alarms_of_a_change_are_as_rare_as_promised_whatever_the_noise() {
    let mut random = Pcg64Mcg::seed_from_u64(8);
    for (shape, draw) in [("normal", normal as Draw), ("heavy-tailed", heavy_tailed), ("skewed", skewed)] {
        let alarmed = (0..3000).filter(|_| {
            let nights: Vec<f64> = (0..115).map(|_| draw(&mut random)).collect();
            first_alarm(&nights).is_some()
        });
        let rate = alarmed.count() as f64 / 3000.0;
        assert!((rate - 0.096).abs() < 0.015, "{shape}: {rate} of series alarmed in 100 nights");
    }
}

#[test]
fn a_change_of_two_standard_deviations_is_found_in_ten_nights() {
    let mut random = Pcg64Mcg::seed_from_u64(9);
    let step = |random: &mut Pcg64Mcg| (0..110).map(|night| normal(random) + if night < 100 { 0.0 } else { 2.0 }).collect();
    let series: Vec<Vec<f64>> = (0..2000).map(|_| step(&mut random)).collect();
    let alarms: Vec<Option<(usize, Change)>> =
        series.iter().map(|s| first_alarm(s)).filter(|alarm| alarm.is_none_or(|(nights, _)| nights > 100)).collect();
    let found: Vec<&Change> = alarms.iter().flatten().map(|(_, change)| change).collect();
    let power = found.len() as f64 / alarms.len() as f64;
    assert!(power >= 0.95, "{power} found");
    let near = found.iter().filter(|change| change.at.abs_diff(100) <= 2).count() as f64 / found.len() as f64;
    assert!(near >= 0.8, "{near} of those placed within two nights");
}

/// Why nights that follow each other must be independent, and that the self-check notices.
#[test]
fn nights_that_resemble_the_one_before_alarm_falsely_and_are_noticed() {
    let mut random = Pcg64Mcg::seed_from_u64(10);
    let mut series = |resemblance: f64| -> Vec<f64> {
        let next = |last: &mut f64, _| {
            *last = resemblance * *last + (1.0 - resemblance.powi(2)).sqrt() * normal(&mut random);
            Some(*last)
        };
        (0..115).scan(0.0, next).collect()
    };
    let alike: Vec<Vec<f64>> = (0..500).map(|_| series(0.6)).collect();
    let alarmed = alike.iter().filter(|s| first_alarm(s).is_some()).count();
    let noticed = alike.iter().filter(|s| lag1(s).unwrap() > 0.2).count();
    assert!(alarmed > 400 && noticed > 490, "{alarmed} alarmed, {noticed} noticed of 500");
    let wrongly = (0..500).filter(|_| lag1(&series(0.0)).unwrap() > 0.2).count();
    assert!(wrongly < 25, "{wrongly} of 500 without resemblance were noticed");
}
