//! The process of one round, as the runner starts it.

use super::Scenario;
use super::strace::End;
use crate::support::ablate;
use std::fs;
use std::path::Path;
use std::process::Command;
use uring_ablate::run::round::Spec;
use uring_ablate::workload::Workload;

pub struct Round {
    /// With more than one each has a thread.
    pub jobs: u32,
}

impl Scenario for Round {
    fn prepare(&self, dir: &Path) {
        fs::write(dir.join("target"), vec![7; 8 << 20]).unwrap();
    }

    /// Through a shell that becomes it, for its standard input is a file.
    fn command(&self, dir: &Path) -> Command {
        let base = crate::process_arms::spec(vec![dir.join("target")], 8 << 20);
        let workload = Workload { jobs: self.jobs, ..base.workload };
        let spec = Spec { blocks: 2, completions: 64, workload, ..base };
        fs::write(dir.join("spec.json"), serde_json::to_string(&spec).unwrap()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" round <\"$1\" >\"$2\""]).arg(ablate().get_program());
        command.arg(dir.join("spec.json")).arg(dir.join("answer"));
        command
    }

    fn follow(&self) -> Option<&'static str> {
        (self.jobs > 1).then_some("all")
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        let answer = fs::read(dir.join("answer")).unwrap_or_default();
        let whole = serde_json::from_slice::<serde_json::Value>(&answer).is_ok();
        match end.code {
            Some(0) if whole => Ok(()),
            Some(0) => Err("it says that all is well and its answer is torn".into()),
            _ if end.said.contains("uring-ablate: ") => Ok(()),
            _ => Err("it fails without a word".into()),
        }
    }
}
