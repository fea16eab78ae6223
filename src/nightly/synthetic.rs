//! Nights on a machine that exists in numbers alone: how often the whole procedure, history on disk included, finds what is not there and what
//! is.

use super::course::Run;
use super::instrument::{Error as Failed, Instrument, Measure, Round};
use super::row::{Better, Finding, NightRow, SeriesRow};
use super::segment::{Identity, Segments};
use super::store::{self, History};
use super::{Error, Settings, Witness, conduct};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use std::path::Path;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Cells of a history, each with one series.
    pub cells: usize,
    pub nights: u32,
    /// Standard deviation of a round's log ratio.
    pub spread: f64,
    /// The same of what all rounds of a night have in common.
    pub between: f64,
    /// Log ratio by which every candidate changes, from this night on (from 0).
    pub step: f64,
    pub at: u32,
}

/// What became of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Before the change.
    pub alarmed: bool,
    pub confirmed: bool,
    /// Nights from the change to the one that confirmed it; 0 is the first.
    pub found_after: Option<u32>,
    /// The same to the first alarm, confirmed or not.
    pub alarmed_after: Option<u32>,
}

/// The instrument: both copies of the reference are alike, the candidate is what the world says.
struct Numbers<'a> {
    world: &'a World,
    random: Pcg64Mcg,
    change: f64,
    /// What all rounds of tonight have in common, by cell: a second run has it, too.
    shared: Vec<f64>,
}

impl Numbers<'_> {
    fn normal(&mut self, sd: f64) -> f64 {
        let unit: f64 = StandardNormal.sample(&mut self.random);
        sd * unit
    }

    fn draw_shared(&mut self) {
        self.shared = (0..self.world.cells).map(|_| self.normal(self.world.between)).collect();
    }
}

impl Instrument for Numbers<'_> {
    fn cells(&self) -> Vec<String> {
        (1..=self.world.cells).map(|n| format!("cell-{n}")).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        vec![Measure { name: "iops".into(), unit: "IOPS".into(), better: Better::Higher }]
    }

    fn round(&mut self, cell: usize, _seed: u64) -> Result<Round, Failed> {
        let common = self.change + self.shared[cell];
        let noise = self.normal(self.world.spread);
        let placebo = self.normal(self.world.spread);
        Ok(Round { figures: vec![[1e6, 1e6 * (common + noise).exp(), 1e6 * placebo.exp()]], violations: 0 })
    }
}

/// Sees nothing.
struct Nobody;

impl Witness for Nobody {
    fn begins(&mut self, _: Run, _: (u32, u32), _: &str) {}

    fn measured(&mut self, _: Run, _: &str, _: u64, _: (&[Measure], &Round)) -> Result<(), store::Error> {
        Ok(())
    }
}

/// All nights of one history, kept in `dir`; what became of each of its series. Ends where every change is found.
pub fn history(world: &World, settings: Settings, dir: &Path, seed: u64) -> Result<Vec<Course>, Error> {
    let mut history = History::open(dir)?;
    let mut courses = vec![Course::default(); world.cells];
    let mut numbers = Numbers { world, random: Pcg64Mcg::seed_from_u64(seed), change: 0.0, shared: vec![] };
    let identity = Identity { platform: "simulated".into(), subject: "simulated".into(), reference: "simulated".into() };
    for night in 0..world.nights {
        let segments = Segments::before(&history, "simulated", "simulated", &identity);
        numbers.change = if night >= world.at { world.step } else { 0.0 };
        numbers.draw_shared();
        let name = format!("night-{night:05}");
        let settings = Settings { seed: settings.seed ^ u64::from(night), ..settings };
        let told = conduct(&name, &mut numbers, &mut Nobody, &segments, settings)?;
        told.series.iter().zip(&mut courses).for_each(|(row, course)| note(course, row, night, world));
        let row = NightRow {
            night: name,
            experiment: "simulated".into(),
            machine: "simulated".into(),
            platform: identity.platform.clone(),
            subject: identity.subject.clone(),
            reference: identity.reference.clone(),
            exit: told.exit as u8,
            ..NightRow::example()
        };
        history.commit(row, &told.series)?;
        if courses.iter().all(|c| c.found_after.is_some()) {
            break;
        }
    }
    Ok(courses)
}

fn note(course: &mut Course, row: &SeriesRow, night: u32, world: &World) {
    let confirmed = matches!(row.finding, Finding::Regressed | Finding::Improved);
    if night < world.at {
        course.alarmed |= row.alarm.is_some();
        course.confirmed |= confirmed;
    } else {
        let after = Some(night - world.at);
        course.alarmed_after = course.alarmed_after.or(after.filter(|_| row.alarm.is_some()));
        course.found_after =
            course.found_after.or(after.filter(|_| confirmed && row.confirmed_change().is_some_and(|c| c.0 * world.step > 0.0)));
    }
}
