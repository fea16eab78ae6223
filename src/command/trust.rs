//! Programs that an experiment file names run only when the user agrees: by `--trust FILE`, or by a yes on a terminal, which is remembered.

use super::Failure;
use crate::cli::Allow;
use crate::console;
use crate::exit::Exit;
use crate::experiment::Experiment;
use crate::experiment::programs::{Named, Starts};
use crate::trusted::{self, Trusted};
use std::io::{self, BufRead, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest answer that is read.
const ANSWER_BYTES: u64 = 64;

/// Refuses an experiment whose file names programs that nobody agreed to. `given` is what the user set beside it.
pub fn check(file: &Path, experiment: &Experiment, starts: Starts, given: &[String], allow: &Allow) -> Result<(), Failure> {
    let named = experiment.named_programs(starts, given);
    if named.is_empty() || allow.trust.iter().any(|path| same(path, file)) {
        return Ok(());
    }
    if let Some(missing) = named.iter().find(|n| n.resolved.is_none() && !n.words[0].contains("{program}")) {
        let message = format!(
            "{}: {missing} was not found on PATH, of which only directories count that nobody but root and you can write to; name it by its path",
            file.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let hash = hash(&experiment.file_text, &named);
    let memory = Trusted::of_this_user();
    match memory.as_ref().map_err(ToString::to_string).and_then(|memory| memory.holds(&hash).map_err(|e| e.to_string())) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(reason) => console::note(format!("uring-ablate: what you agreed to before is not looked at: {reason}")),
    }
    if !(io::stdin().is_terminal() && console::watched() && agreed(file, &named)) {
        return Err(refusal(file, &named));
    }
    if let Err(reason) = memory.and_then(|memory| memory.add(&hash, file)) {
        console::note(format!("uring-ablate: your answer cannot be remembered: {reason}"));
    }
    Ok(())
}

/// One file under two names is one file.
fn same(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// Of the file as it was read, and of what its programs stand for here.
fn hash(text: &str, named: &[Named]) -> String {
    let of = |n: &Named| {
        let words = n.words.iter().map(|w| w.as_bytes().to_vec());
        let resolved = n.resolved.iter().map(|path| path.as_os_str().as_bytes().to_vec());
        [n.key.as_bytes().to_vec()].into_iter().chain(words).chain(resolved).collect::<Vec<_>>()
    };
    let parts: Vec<Vec<u8>> = named.iter().flat_map(of).collect();
    trusted::hash([text.as_bytes()].into_iter().chain(parts.iter().map(Vec::as_slice)))
}

fn refusal(file: &Path, named: &[Named]) -> Failure {
    let list: Vec<String> = named.iter().map(ToString::to_string).collect();
    let (file, list) = (file.display(), list.join("; "));
    let message = format!(
        "{file} names programs, which would run with your rights: {list}. Read the file; if you trust it, add --trust {file}"
    );
    Failure { exit: Exit::Usage, message }
}

fn agreed(file: &Path, named: &[Named]) -> bool {
    let programs: String = named.iter().map(|n| format!("  {n}\n")).collect();
    let question = format!(
        "{file:?} names programs, which would run with your rights:\n{programs}Run them, now and whenever the file is as it is? [y/N] "
    );
    // A question that cannot be shown cannot be answered.
    if !console::ask(question) {
        return false;
    }
    let mut answer = String::new();
    let read = io::stdin().lock().take(ANSWER_BYTES).read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}
