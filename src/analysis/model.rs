//! A run as tables and charts see it: its data, its effects, and what its manifest tells.

use super::carry::{Carry, carry};
use super::effect::{CellEffects, Settings, analyse};
use super::history::Past;
use super::latency::{self, Recorded};
use super::load::{self, Data, Error};
use crate::durable::Dir;
use crate::run::manifest::Manifest;
use std::path::Path;

/// Settings where a run has no manifest to tell them.
const DEFAULTS: Settings = Settings { delta: 0.02, alpha: 0.05, stall: 0.02, spin: 0.05 };

/// Everything that tables and charts are made of.
pub struct Model {
    pub data: Data,
    pub cells: Vec<CellEffects>,
    pub carry: Vec<Carry>,
    pub settings: Settings,
    /// Histograms of completed arms, where the run has a latency log that can be read.
    pub latency: Vec<Recorded>,
    /// This run among others of its experiment, oldest first, where some were looked for.
    pub history: Vec<Past>,
    /// `None` where the run has no manifest; what it would say is left out.
    pub manifest: Option<Manifest>,
}

impl Model {
    /// Reads a run and analyses it.
    pub fn load(results: &Path) -> Result<Model, Error> {
        Model::read(&Dir::open(results).map_err(|source| Error::Read { path: results.into(), source })?)
    }

    /// The same of a directory that is open.
    pub fn read(results: &Dir) -> Result<Model, Error> {
        let mut data = load::load(results)?;
        let unreadable = |e: std::io::Error| Error::Table { path: results.join("manifest.json"), reason: e.to_string() };
        let manifest = Manifest::read(results).map_err(unreadable)?;
        let settings = manifest.as_ref().map_or(DEFAULTS, |m| Settings {
            delta: m.experiment.delta,
            alpha: m.experiment.level.unwrap_or(m.experiment.alpha),
            stall: m.experiment.stall,
            spin: m.experiment.spin,
        });
        let latency = match latency::load(results, &data) {
            // What is damaged stays so and is left out; what cannot be read now may be readable later.
            Err(error @ Error::Table { .. }) => {
                data.warnings.push(format!("latency is left out: {error}"));
                Vec::new()
            }
            read => read?,
        };
        let (cells, carry) = (analyse(&data, &settings), carry(&data));
        Ok(Model { cells, carry, data, settings, latency, history: Vec::new(), manifest })
    }

    /// Where and how this was measured, for the foot of charts.
    pub fn provenance(&self) -> String {
        self.manifest.as_ref().map_or_else(String::new, |m| format!("{}; {}", m.environment, m.command))
    }

    /// Short name of the target.
    pub fn target(&self) -> &str {
        self.data.arms.first().map_or("", |a| a.target.as_str())
    }
}
