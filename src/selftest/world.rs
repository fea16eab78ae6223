//! A simulated machine: noise that drifts, remembers and jumps, in slices of two arms that take turns, and an effect that is known.

use crate::analysis::contrast::Metric;
use crate::analysis::effect::{Effect, Settings, analyse};
use crate::analysis::load::{self, Data, Trial};
use crate::plan::{Arm, Control, order};
use crate::random::Decisions;
use crate::toggle::Levels;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const SETTINGS: Settings = Settings { delta: 0.02, alpha: 0.05, stall: 0.02, spin: 0.05 };

/// What disturbs a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    None,
    /// Drift and memory, as on a machine with neighbours.
    Drifting,
}

/// A machine, and how it is measured.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub rounds: u32,
    /// Blocks of a round; every third round is cut short by a third.
    pub blocks: u32,
    /// What the second arm really does, as a log ratio of throughput.
    pub truth: f64,
    /// Spread of the difference of two arms that lasts for a round.
    pub of_round: f64,
    pub noise: Noise,
    /// Share of the slices of each arm that a neighbour holds up.
    pub spikes: [f64; 2],
    /// The arms of a block in random order, or all of one arm first.
    pub interleaved: bool,
    /// What the second arm leaves behind for the slice after it, as a log ratio of throughput: a device that is still busy with its work.
    pub carry_over: f64,
    /// Each slice is preceded by one of its own arm that is not measured.
    pub conditioned: bool,
}

/// The log by which a spike lengthens a slice.
const SPIKE: f64 = 0.3;

impl World {
    /// A shared machine on which two identical arms take turns.
    pub fn shared_machine() -> World {
        World {
            rounds: 12,
            blocks: 30,
            truth: 0.0,
            of_round: 0.003,
            noise: Noise::Drifting,
            spikes: [0.03; 2],
            interleaved: true,
            carry_over: 0.0,
            conditioned: false,
        }
    }

    /// The ratio of throughputs. What holds up one arm more than the other is part of what it does.
    pub fn true_ratio(&self) -> f64 {
        let longer = self.spikes.map(|share| 1.0 + share * SPIKE.exp_m1());
        self.truth.exp() * longer[0] / longer[1]
    }

    /// What the analysis says of the second arm over the first in one experiment.
    pub fn experiment(&self, seed: u64) -> Effect {
        let treatments = ["full", "placebo"].map(String::from).to_vec();
        let arm = |round, treatment: &String| load::Arm {
            round,
            kind: "slices".into(),
            cell: "simulated".into(),
            treatment: treatment.clone(),
            outcome: "completed".into(),
            figures: [("thread_cpu_share", 1.0)].into(),
            ..load::Arm::default()
        };
        let arms = (1..=self.rounds).flat_map(|round| treatments.iter().map(move |t| arm(round, t))).collect();
        let mut trials: Vec<Trial> = (1..=self.rounds).flat_map(|round| self.round(round, seed)).collect();
        trials.sort_by_key(|t| (t.round, t.block, t.position));
        let cells = analyse(&Data { trials, treatments, arms, ..Data::default() }, &SETTINGS);
        cells[0].find("placebo", "", Metric::Iops).expect("both arms are there").clone()
    }

    fn round(&self, round: u32, seed: u64) -> Vec<Trial> {
        let mut machine =
            Machine { random: Pcg64Mcg::seed_from_u64(seed << 32 | u64::from(round)), slow: 0.0, fast: 0.0, drift: 0.0 };
        let lasting = self.of_round * machine.normal();
        let blocks = if round.is_multiple_of(3) { self.blocks - self.blocks / 3 } else { self.blocks };
        let arm = |name: &str| Arm { treatment: name.into(), levels: Levels::all_off(), control: Control::None, copies: 1 };
        let drawn =
            order::blocks(&[arm("full"), arm("placebo")], blocks as usize, &mut Decisions::new(machine.random.next_u64()));
        let placed =
            |(block, slices): (u32, Vec<(usize, u32)>)| (0..).zip(slices).map(move |(place, (arm, _))| (block, place, arm));
        let mut order: Vec<(u32, u32, usize)> = (0..).zip(drawn).flat_map(placed).collect();
        if !self.interleaved {
            order.sort_by_key(|(block, _, arm)| (*arm, *block));
        }
        let mut before = 0;
        let slice = |(block, position, arm): (u32, u32, usize)| {
            let left_behind = if self.conditioned { arm } else { before };
            before = arm;
            let effect = if arm == 1 { self.truth + lasting } else { 0.0 } + if left_behind == 1 { self.carry_over } else { 0.0 };
            let noise = if self.noise == Noise::None { 0.0 } else { machine.next(self.spikes[arm]) };
            let duration_s = 0.005 * (noise - effect).exp();
            Trial { round, treatment: arm, block, position, duration_s, ops: 5000.0, cpu_total_ns: Some(duration_s * 1e9) }
        };
        order.into_iter().map(slice).collect()
    }
}

/// The state of the noise.
struct Machine {
    random: Pcg64Mcg,
    slow: f64,
    fast: f64,
    drift: f64,
}

impl Machine {
    fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.random)
    }

    /// Log of how much longer the next slice takes than it should: two memories of 3 % and 2 %, a drift of 0.1 % a slice, spikes.
    fn next(&mut self, spike_share: f64) -> f64 {
        self.slow = remember(self.slow, 0.99, 0.03 * self.normal());
        self.fast = remember(self.fast, 0.9, 0.02 * self.normal());
        self.drift += 0.001;
        let spike = if f64::from(self.random.next_u32()) < spike_share * f64::from(u32::MAX) { SPIKE } else { 0.0 };
        self.slow + self.fast + self.drift + spike
    }
}

/// An autoregression whose spread is that of its innovations.
fn remember(before: f64, memory: f64, innovation: f64) -> f64 {
    memory * before + (1.0 - memory * memory).sqrt() * innovation
}
