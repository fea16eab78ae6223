//! A run's directory: append-only files, made durable round by round, cut back to whole rounds before a run is continued.
//!
//! A round's rows go to `trials.csv`, `arms.csv`, `latency.hlog` and `overhead.csv` and are flushed to disk; then one line of `rounds.csv` says so, with the
//! lengths of the other files. What lies beyond the last such line belongs to a round that was not finished and is cut off.

use super::pace::Journal;
use crate::durable::{self, Dir, line, lines};
use crate::limits;
use crate::plan::Round;
use crate::row::{ArmRow, JournalRow, OverheadRow, TrialRow};
use crate::units;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};

const APPENDED: [&str; 4] = {
    let [(trials, _), (arms, _), (latency, _), (overhead, _)] = JournalRow::LENGTHS;
    [trials, arms, latency, overhead]
};
const JOURNAL: &str = "rounds.csv";
const PLAN: &str = "plan.csv";
const MANIFEST: &str = "manifest.json";

/// A file of the run that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}: {source}; make room or choose another --out, then continue with --resume", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds a run already; continue it with --resume or choose another --out", path = .0.display())]
    Occupied(PathBuf),
    #[error("{path} holds no run to resume (no manifest.json)", path = .0.display())]
    Nothing(PathBuf),
    #[error("{path} is in use by another run of this tool; wait for it to end or choose another --out", path = .0.display())]
    Busy(PathBuf),
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{path} would grow to {size}, and at most {most} of it are read, so the run ends here; what was measured is kept and can be reported on; \
         measure less in one run (fewer rounds or workloads), or in longer slices ([design] slice_time)",
        path = path.display(), size = units::size_words(*size), most = units::size_words(*most)
    )]
    Full { path: PathBuf, size: u64, most: u64 },
    #[error("cannot lock {path}: {source}", path = path.display())]
    Lock { path: PathBuf, source: io::Error },
}

/// A line of `plan.csv`: a round with what the pilot fixed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRound {
    pub round: u32,
    pub repetition: u32,
    pub cell: String,
    pub kind: crate::plan::RoundKind,
    pub part: crate::plan::Part,
    pub seed: u64,
    pub blocks: u32,
    /// Completions per slice and job; 0 where the slices are timed from outside.
    pub completions: u64,
    /// Length of slices that are timed from outside; 0 elsewhere.
    pub slice_us: u64,
    /// The round that this one measures again; that one's figures are then not used.
    pub redoes: Option<u32>,
}

impl PlannedRound {
    const HEADER: &[&str] =
        &["round", "repetition", "cell", "kind", "part", "seed", "blocks", "completions", "slice_us", "redoes"];

    /// The round without what the pilot fixed.
    pub fn round(&self) -> Round {
        let PlannedRound { round, repetition, ref cell, kind, part, seed, .. } = *self;
        Round { round, repetition, cell: cell.clone(), kind, part, seed }
    }
}

/// The rows of one round, ready to be written.
#[derive(Debug, Default)]
pub struct RoundRows {
    pub trials: Vec<TrialRow>,
    pub arms: Vec<ArmRow>,
    /// Lines of the HdrHistogram log.
    pub latency: String,
    pub overhead: Vec<OverheadRow>,
}

/// Takes the directory for this process.
fn lock(dir: &Dir) -> Result<(), Error> {
    let taken = dir.lock().map_err(|source| Error::Lock { path: dir.path().into(), source })?;
    if taken { Ok(()) } else { Err(Error::Busy(dir.path().into())) }
}

/// An open run directory.
#[derive(Debug)]
pub struct Store {
    /// Locked for as long as the run goes on; the kernel lets go of it with the process.
    dir: Dir,
    lengths: [u64; 4],
}

impl Store {
    /// Starts a new run in `dir`, which may exist but must hold none.
    pub fn create(dir: &Path, manifest: &impl Serialize) -> Result<Store, Error> {
        let dir = Dir::create(dir).map_err(|source| Error::Write { path: dir.into(), source })?;
        lock(&dir)?;
        // A start that was killed leaves empty files; anything more is somebody's.
        let empty = APPENDED.into_iter().zip(empty_files()).chain([(JOURNAL, line(JournalRow::HEADER))]);
        let mut occupied = holds(&dir, MANIFEST)? || holds(&dir, PLAN)?;
        for (name, text) in empty {
            occupied |= holds(&dir, name)? && read(&dir, name)? != text;
        }
        if occupied {
            return Err(Error::Occupied(dir.path().into()));
        }
        let store = Store { dir, lengths: empty_files().map(|text| text.len() as u64) };
        for (name, text) in APPENDED.into_iter().zip(empty_files()) {
            store.replace(name, text.as_bytes())?;
        }
        store.replace(JOURNAL, line(JournalRow::HEADER).as_bytes())?;
        store.write_manifest(manifest)?;
        Ok(store)
    }

    /// Opens the run in `dir` to continue it and returns it with the rounds it has. Everything is read and checked, by `same` whether the run is
    /// the same by its manifest, before the first change, which cuts it back to whole rounds.
    pub fn resume<M: DeserializeOwned, E: From<Error>>(
        dir: &Path,
        same: impl FnOnce(&M) -> Result<(), E>,
    ) -> Result<(Store, Journal), E> {
        let dir = Dir::open(dir).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Nothing(dir.into()),
            _ => Error::Read { path: dir.into(), source },
        })?;
        if !holds(&dir, MANIFEST)? {
            return Err(Error::Nothing(dir.path().into()).into());
        }
        lock(&dir)?;
        let text = read(&dir, JOURNAL)?;
        let whole = durable::whole_lines(&text);
        let rows: Vec<JournalRow> = parse(&dir.join(JOURNAL), whole)?;
        let empty = empty_files().map(|text| text.len() as u64);
        let lengths = rows.last().map_or(empty, |r| [r.trials_bytes, r.arms_bytes, r.latency_bytes, r.overhead_bytes]);
        let store = Store { dir, lengths };
        same(&store.read_manifest()?)?;
        store.read_plan()?;
        // The journal first: it is what says how long the others are.
        let all: Vec<(&str, u64)> =
            [(JOURNAL, whole.len() as u64)].into_iter().chain(APPENDED.into_iter().zip(lengths)).collect();
        for (name, header) in APPENDED.into_iter().zip(empty_files()) {
            let path = store.dir.join(name);
            match store.dir.begins(name, header.as_bytes()) {
                Ok(true) => {}
                Ok(false) => return Err(Error::Damaged { path, reason: "its first line is not that of a run".into() }.into()),
                Err(source) => return Err(Error::Read { path, source }.into()),
            }
        }
        for (name, length) in &all {
            store.dir.can_cut(name, *length).map_err(|source| uncut(store.dir.join(name), source))?;
        }
        for (name, length) in &all {
            store.dir.cut(name, *length).map_err(|source| uncut(store.dir.join(name), source))?;
        }
        Ok((store, rows.iter().map(|r| (r.round, r.finished())).collect()))
    }

    /// Makes a round durable. Until the last step has reached the disk the round does not count. [`Error::Full`], with nothing written, where a
    /// file would outgrow what is read of it.
    pub fn commit(&mut self, rows: &RoundRows, mut journal: JournalRow) -> Result<(), Error> {
        let arms: String = rows.arms.iter().map(|row| line(&row.record())).collect();
        let texts = [lines(&rows.trials), arms, rows.latency.clone(), lines(&rows.overhead)];
        for ((name, length), text) in APPENDED.into_iter().zip(self.lengths).zip(&texts) {
            let (size, most) = (length + text.len() as u64, limits::of_file(name).bytes);
            if size > most {
                return Err(Error::Full { path: self.dir.join(name), size, most });
            }
        }
        for (i, text) in texts.iter().enumerate() {
            self.append(APPENDED[i], text.as_bytes())?;
            self.lengths[i] += text.len() as u64;
        }
        [journal.trials_bytes, journal.arms_bytes, journal.latency_bytes, journal.overhead_bytes] = self.lengths;
        self.append(JOURNAL, lines(&[journal]).as_bytes())
    }

    /// Writes the plan as the pilot completed it.
    pub fn write_plan(&self, plan: &[PlannedRound]) -> Result<(), Error> {
        self.replace(PLAN, (line(PlannedRound::HEADER) + &lines(plan)).as_bytes())
    }

    /// The plan of a run that got as far as its pilot.
    pub fn read_plan(&self) -> Result<Option<Vec<PlannedRound>>, Error> {
        let path = self.dir.join(PLAN);
        match self.dir.maybe_text(PLAN) {
            Ok(text) => text.map(|text| parse(&path, &text)).transpose(),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Writes `manifest.json`.
    pub fn write_manifest(&self, manifest: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(manifest)
            .map_err(|e| Error::Damaged { path: self.dir.join(MANIFEST), reason: e.to_string() })?;
        self.replace(MANIFEST, (text + "\n").as_bytes())
    }

    /// Reads `manifest.json`.
    pub fn read_manifest<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = read(&self.dir, MANIFEST)?;
        serde_json::from_str(&text).map_err(|e| Error::Damaged { path: self.dir.join(MANIFEST), reason: e.to_string() })
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.dir.append(name, bytes).map_err(|source| Error::Write { path: self.dir.join(name), source })
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.dir.replace(name, bytes).map_err(|source| Error::Write { path: self.dir.join(name), source })
    }
}

/// What the appended files hold before the first round.
fn empty_files() -> [String; 4] {
    let latency = "#[Histogram log format version 1.3]\n\
                   \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
    [line(TrialRow::HEADER), line(&ArmRow::header()), latency.into(), line(OverheadRow::HEADER)]
}

fn holds(dir: &Dir, name: &str) -> Result<bool, Error> {
    dir.holds(name).map_err(|source| Error::Read { path: dir.join(name), source })
}

fn read(dir: &Dir, name: &str) -> Result<String, Error> {
    dir.text(name).map_err(|source| Error::Read { path: dir.join(name), source })
}

/// Why a file could not be cut.
fn uncut(path: PathBuf, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Damaged { path, reason: source.to_string() },
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Error::Read { path, source },
        _ => Error::Write { path, source },
    }
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, Error> {
    durable::parse(text).map_err(|e| Error::Damaged { path: path.into(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn resume(dir: &Path) -> Result<(Store, Journal), Error> {
        Store::resume(dir, |_: &String| Ok::<(), Error>(()))
    }

    fn journal(round: u32) -> JournalRow {
        JournalRow { round, ..JournalRow::example() }
    }

    fn rows(round: u32) -> RoundRows {
        let trial = TrialRow { round, ..TrialRow::example() };
        RoundRows {
            trials: vec![trial.clone(), trial],
            arms: vec![],
            latency: format!("Tag={round},0,0,0,x\n"),
            overhead: vec![OverheadRow::example(); 2],
        }
    }

    fn contents(dir: &Path) -> Vec<String> {
        APPENDED.iter().chain(&[JOURNAL]).map(|f| fs::read_to_string(dir.join(f)).unwrap()).collect()
    }

    #[test]
    fn headers_are_the_fields() {
        assert!(durable::with_header(&[TrialRow::example()]).starts_with(&line(TrialRow::HEADER)));
        assert!(durable::with_header(&[OverheadRow::example()]).starts_with(&line(OverheadRow::HEADER)));
        assert!(durable::with_header(&[JournalRow::example()]).starts_with(&line(JournalRow::HEADER)));
    }

    #[test]
    fn a_round_cut_anywhere_leaves_the_rounds_before_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("run");
        let mut store = Store::create(&dir, &"m").unwrap();
        store.commit(&rows(1), journal(1)).unwrap();
        let whole = contents(&dir);
        store.commit(&rows(2), journal(2)).unwrap();
        let after = contents(&dir);
        assert!(matches!(resume(&dir), Err(Error::Busy(_))), "one run at a time");
        drop(store);
        let names = || APPENDED.into_iter().chain([JOURNAL]);
        for (file, name) in names().enumerate() {
            for cut_at in whole[file].len()..after[file].len() {
                // As a kill leaves them: files are appended in order, the journal last.
                for (later, text) in names().zip(&after) {
                    fs::write(dir.join(later), text).unwrap();
                }
                fs::write(dir.join(JOURNAL), if name == JOURNAL { &after[4][..cut_at] } else { &whole[4] }).unwrap();
                if name != JOURNAL {
                    fs::write(dir.join(name), &after[file][..cut_at]).unwrap();
                }
                let (_, finished) = resume(&dir).unwrap();
                assert_eq!(finished.into_keys().collect::<Vec<_>>(), [1], "{name} cut at {cut_at}");
                assert_eq!(contents(&dir), whole, "{name} cut at {cut_at}");
            }
        }
    }

    #[test]
    fn a_run_ends_before_a_file_outgrows_what_is_read_of_it() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::create(home.path(), &"m").unwrap();
        store.commit(&rows(1), journal(1)).unwrap();
        let whole = contents(home.path());
        store.lengths[1] = limits::of_file("arms.csv").bytes;
        store.commit(&RoundRows { arms: vec![], ..rows(2) }, journal(2)).unwrap();
        store.lengths[0] = limits::of_file("trials.csv").bytes;
        let error = store.commit(&rows(3), journal(3)).unwrap_err();
        assert!(matches!(&error, Error::Full { path, .. } if path.ends_with("trials.csv")), "{error}");
        assert!(error.to_string().contains("at most 512 MiB of it are read"), "{error}");
        assert!(contents(home.path()).iter().zip(&whole).all(|(now, then)| now.starts_with(then) && !now.contains("\n3,")));
    }

    #[test]
    fn a_run_is_never_overwritten_and_needs_a_manifest_to_resume() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(resume(home.path()), Err(Error::Nothing(_))));
        Store::create(home.path(), &"m").unwrap();
        assert!(matches!(Store::create(home.path(), &"m"), Err(Error::Occupied(_))));
    }

    #[test]
    fn results_without_a_manifest_are_not_overwritten_and_a_killed_start_is() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("trials.csv"), empty_files()[0].clone()).unwrap();
        Store::create(home.path(), &"m").unwrap();
        fs::remove_file(home.path().join(MANIFEST)).unwrap();
        fs::write(home.path().join("arms.csv"), "somebody's\n").unwrap();
        assert!(matches!(Store::create(home.path(), &"m"), Err(Error::Occupied(_))));
    }
}
