//! Whether the files of a run are whole, and no larger than those of a run can be: they may be a copy, or somebody else's.

use super::load::{Arm, Error, Overhead, Table, Trial};
use crate::durable::Dir;
use crate::limits;
use crate::row::JournalRow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

/// Reads a file of a run that is no larger than one of ours.
pub fn read(dir: &Dir, name: &str) -> Result<Vec<u8>, Error> {
    let (path, limit) = (dir.join(name), limits::of_file(name));
    let bytes = dir.read_within(name, limit.bytes).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => Error::TooLarge { path: path.clone(), reason: source.to_string() },
        _ => Error::Read { path: path.clone(), source },
    })?;
    let rows = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    if rows > limit.rows {
        let reason = format!("it has {rows} rows, and at most {} are read", limit.rows);
        return Err(Error::TooLarge { path, reason });
    }
    Ok(bytes)
}

/// Checks by the lengths in `rounds.csv`, which is `journal`, that no row of a finished round is missing. What is longer holds a round that was not
/// finished. A file that is not there at all is said in `warnings`: a report can do without some.
pub(super) fn check(dir: &Dir, journal: &Table, warnings: &mut Vec<String>) -> Result<(), Error> {
    for (name, column) in JournalRow::LENGTHS {
        let lengths = journal.maybe_numbers(column)?;
        let written = lengths.into_iter().flatten().fold(0.0, f64::max) as u64;
        let path = dir.join(name);
        match dir.file(name).and_then(|file| file.metadata()) {
            Ok(about) if about.len() < written => return Err(Error::Cut { path, has: about.len(), written }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && written > 0 => {
                warnings.push(format!("{name} is missing, of which rounds.csv says that {written} bytes were written"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    Ok(())
}

/// The rounds that were finished, once their rows are known to be there; `None` where a run has no `rounds.csv`.
pub fn finished(dir: &Dir) -> Result<Option<BTreeSet<u32>>, Error> {
    let Some(journal) = super::load::optional(dir, JOURNAL, &mut Vec::new())? else { return Ok(None) };
    check(dir, &journal, &mut Vec::new())?;
    Ok(Some(journal.required("round")?.into_iter().map(|round| round as u32).collect()))
}

/// What says which rounds were finished.
pub const JOURNAL: &str = "rounds.csv";

/// Checks that no experiment has more workloads, or a workload more arms: a report compares each with others.
pub fn arms(dir: &Dir, arms: &[Arm]) -> Result<(), Error> {
    let mut cells: HashMap<&str, HashSet<&str>> = HashMap::new();
    for arm in arms {
        cells.entry(&arm.cell).or_default().insert(&arm.treatment);
    }
    let reason = match cells.iter().find(|(_, treatments)| treatments.len() > limits::LIST) {
        _ if cells.len() > limits::CELLS => format!("it has {} workloads; {} are the most", cells.len(), limits::CELLS),
        Some((cell, treatments)) => format!("workload {cell} has {} treatments; {} are the most", treatments.len(), limits::LIST),
        None => return Ok(()),
    };
    Err(Error::Table { path: dir.join("arms.csv"), reason })
}

/// Checks that no block, of trials that are sorted, has a treatment more often: each slice of a block is weighed against each of another's.
pub fn trials(dir: &Dir, trials: &[Trial], treatments: &[String]) -> Result<(), Error> {
    for block in trials.chunk_by(|a, b| (a.round, a.block) == (b.round, b.block)).filter(|block| block.len() > limits::COPIES) {
        let mut copies: HashMap<usize, usize> = HashMap::new();
        block.iter().for_each(|t| *copies.entry(t.treatment).or_default() += 1);
        if let Some((treatment, count)) = copies.into_iter().find(|(_, count)| *count > limits::COPIES) {
            let (round, number, name) = (block[0].round, block[0].block, &treatments[treatment]);
            let most = limits::COPIES;
            let reason = format!("block {number} of round {round} has {count} slices of {name}; {most} are the most");
            return Err(Error::Table { path: dir.join("trials.csv"), reason });
        }
    }
    Ok(())
}

/// Checks that there are no more causes.
pub fn overhead(dir: &Dir, rows: &[Overhead]) -> Result<(), Error> {
    let causes: HashSet<&str> = rows.iter().map(|row| row.category.as_str()).collect();
    if causes.len() <= limits::CAUSES {
        return Ok(());
    }
    let reason = format!("it has {} causes; {} are the most", causes.len(), limits::CAUSES);
    Err(Error::Table { path: dir.join("overhead.csv"), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open(home.path()).unwrap();
        (home, dir)
    }

    #[test]
    fn what_no_run_has_is_damaged() {
        let (_home, dir) = dir();
        let arm =
            |cell: usize, treatment: usize| Arm { cell: cell.to_string(), treatment: treatment.to_string(), ..Arm::default() };
        let many: Vec<Arm> = (0..=limits::CELLS).map(|i| arm(i, 0)).collect();
        assert!(arms(&dir, &many).unwrap_err().to_string().contains("1001 workloads; 1000 are the most"));
        let many: Vec<Arm> = (0..=limits::LIST).map(|i| arm(0, i)).collect();
        assert!(arms(&dir, &many).unwrap_err().to_string().contains("1001 treatments; 1000 are the most"));
        assert!(arms(&dir, &many[1..]).is_ok());
        let trial = Trial { round: 1, treatment: 0, block: 2, position: 0, duration_s: 1.0, ops: 1.0, cpu_total_ns: None };
        let found = trials(&dir, &[trial; limits::COPIES + 1], &["full".into()]).unwrap_err().to_string();
        assert!(found.contains("block 2 of round 1 has 65 slices of full; 64 are the most"), "{found}");
        assert!(trials(&dir, &[trial; limits::COPIES], &["full".into()]).is_ok());
        let cause = |i: usize| Overhead { category: i.to_string(), ..Overhead::default() };
        let many: Vec<Overhead> = (0..=limits::CAUSES).map(cause).collect();
        assert!(overhead(&dir, &many).unwrap_err().to_string().contains("1001 causes; 1000 are the most"));
        assert!(overhead(&dir, &many[1..]).is_ok());
    }

    #[test]
    fn a_table_has_no_more_rows_than_bytes_of_ours_would_be() {
        let (_home, dir) = dir();
        std::fs::write(dir.join("plan.csv"), "\n".repeat(limits::of_file("plan.csv").rows as usize + 1)).unwrap();
        let found = read(&dir, "plan.csv").unwrap_err().to_string();
        assert!(found.contains("plan.csv") && found.contains("rows, and at most 8388608 are read"), "{found}");
    }
}
