//! The programs that an experiment names. They run with the rights of whoever runs the experiment, so that file must come from somebody who is
//! trusted; what the user names on the command line, he trusts.

use super::Experiment;
use crate::program;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a verb starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// `run`, and `plan --pilot` before it: fio and t/io_uring.
    Peers,
    /// `nightly` and `bisect`: the command of `[subject]`.
    Subject,
}

/// A program or command that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As in `--set`: `peers.fio_path`.
    pub key: &'static str,
    pub words: Vec<String>,
    /// The file that would be started; `None` where PATH has no such program, or where it is the user's own (`{program}`).
    pub resolved: Option<PathBuf>,
}

impl Named {
    fn new(key: &'static str, words: Vec<String>) -> Named {
        let resolved = words.first().filter(|first| !first.contains(PROGRAM)).and_then(|first| program::find(Path::new(first)));
        Named { key, words, resolved }
    }
}

/// Control characters are escaped: a file must not draw on the terminal on which it is asked about.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words[..] {
            [one] => write!(f, "{} = {one:?}", self.key)?,
            words => write!(f, "{} = {words:?}", self.key)?,
        }
        match &self.resolved {
            Some(path) => write!(f, ", which is {path:?}"),
            None => Ok(()),
        }
    }
}

/// The word for which `--reference` and `--candidate` stand.
const PROGRAM: &str = "{program}";

impl Experiment {
    /// The programs that a verb would start because the file names them. `given` is what the user set beside it (`--set`).
    pub fn named_programs(&self, starts: Starts, given: &[String]) -> Vec<Named> {
        let text = |path: &Path| vec![path.display().to_string()];
        let named = match starts {
            Starts::Peers => {
                // "fio" is what is started unasked: the one on PATH.
                let fio = Some(&self.peers.fio_path).filter(|path| !self.peers.fio.is_empty() && path.as_os_str() != "fio");
                let fio = fio.map(|path| Named::new("peers.fio_path", text(path)));
                let peak = self.peers.t_io_uring.as_ref().map(|path| Named::new("peers.t_io_uring", text(path)));
                fio.into_iter().chain(peak).collect()
            }
            Starts::Subject => {
                let command = self.subject.iter().map(|s| &s.command).filter(|words| !runs_the_users_program_alone(words));
                command.map(|words| Named::new("subject.command", words.clone())).collect::<Vec<_>>()
            }
        };
        named.into_iter().filter(|n| !given.iter().any(|item| sets(item, n.key))).collect()
    }
}

/// True where KEY=VALUE sets a key, alone or with the table that it stands in.
fn sets(item: &str, key: &str) -> bool {
    let given = item.split_once('=').map_or("", |(given, _)| given.trim());
    key == given || key.strip_prefix(given).is_some_and(|rest| !given.is_empty() && rest.starts_with('.'))
}

/// True for a command whose program the user names, and whose other words name nothing that a program could start, read or write to.
fn runs_the_users_program_alone(words: &[String]) -> bool {
    words.split_first().is_some_and(|(first, rest)| first == PROGRAM && rest.iter().all(|word| is_plain(word)))
}

/// The target, a long option without a value, or one whose value is the target or a number with its unit. A bare word or another value may name a
/// script, a job file or somebody's data, whatever it looks like: what a program makes of its arguments only its user knows.
fn is_plain(word: &str) -> bool {
    let flag = |text: &str| {
        let name = text.strip_prefix("--").unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
            && !name.contains("exec")
    };
    let number = |value: &str| {
        let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
        value.len() - digits.len() <= 3 && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    match word.split_once('=') {
        None => word == "{target}" || flag(word),
        Some((name, value)) => flag(name) && (value == "{target}" || number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(extra: &str, starts: Starts, given: &[&str]) -> Vec<String> {
        let text = format!(
            "name = \"a\"\nquestion = \"b\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 1\n[design]\nkind = []\ntoggles = []\n{extra}"
        );
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        let experiment = super::super::overridden(Path::new("x.toml"), &text, &given).unwrap();
        experiment.named_programs(starts, &given).iter().map(ToString::to_string).collect()
    }

    fn subject(command: &str, given: &[&str]) -> Vec<String> {
        let extra = format!("[subject]\ncommand = {command}\nmetric = {{ json = \"/x\", better = \"higher\" }}\n");
        named(&extra, Starts::Subject, given)
    }

    #[test]
    fn peers_of_the_file_are_named_and_those_of_the_command_line_are_not() {
        let both = "[peers]\nfio = [\"default\"]\nfio_path = \"/opt/fio\"\nt_io_uring = \"/opt/\\u001b[2Jt\"\n";
        let said = [
            "peers.fio_path = \"/opt/fio\", which is \"/opt/fio\"",
            "peers.t_io_uring = \"/opt/\\u{1b}[2Jt\", which is \"/opt/\\u{1b}[2Jt\"",
        ];
        assert_eq!(named(both, Starts::Peers, &[]), said);
        assert_eq!(named(both, Starts::Subject, &[]), [""; 0]);
        assert_eq!(named(both, Starts::Peers, &["peers.t_io_uring=/mine/t"]), said[..1]);
        assert_eq!(named(both, Starts::Peers, &["peers={ fio = [\"default\"], fio_path = \"/mine\" }"]), [""; 0]);
        assert_eq!(named(both, Starts::Peers, &["peers.fio=[\"default\"]"]), said);
        assert_eq!(named("[peers]\nfio = [\"default\"]\n", Starts::Peers, &[]), [""; 0], "the one on PATH");
        assert_eq!(named("[peers]\nfio_path = \"/opt/fio\"\n", Starts::Peers, &[]), [""; 0], "it is not started");
    }

    #[test]
    fn a_command_of_the_users_program_alone_is_his() {
        for mine in [
            "[\"{program}\"]",
            "[\"{program}\", \"--direct\", \"--filename={target}\", \"{target}\", \"--bs=4k\", \"--runtime=1.5\"]",
        ] {
            assert_eq!(subject(mine, &[]), [""; 0], "{mine}");
        }
        for theirs in [
            "[\"sh\", \"-c\", \"{program}\"]",
            "[\"./run\", \"{program}\"]",
            "[\"{program}\", \"-c\", \"reboot\"]",
            "[\"{program}\", \"evil.fio\"]",
            "[\"{program}\", \"evil\"]",
            "[\"{program}\", \"--filename=somebodys\"]",
            "[\"{program}\", \"--rw=randwrite\"]",
            "[\"{program}\", \"{target}.sh\"]",
            "[\"{program}\", \"--load=/tmp/x.so\"]",
            "[\"{program}\", \"--exec_prerun=reboot\"]",
            "[\"{program}\", \"rm -r x\"]",
            "[\"{program}\", \"{program}\"]",
            "[\"{program}x\"]",
        ] {
            assert_eq!(subject(theirs, &[]).len(), 1, "{theirs}");
        }
        assert_eq!(subject("[\"sh\", \"-c\", \"{program}\"]", &["subject.command=[\"{program}\"]"]), [""; 0]);
        assert!(
            subject("[\"sh\", \"-c\", \"{program}\\u0007\"]", &[])[0]
                .starts_with("subject.command = [\"sh\", \"-c\", \"{program}\\u{7}\"], which is \"/")
        );
    }
}
