//! The command line as shells and `man` know it.

use crate::support::{ablate, skip};
use std::process::{Command, Stdio};

/// bash itself completes verbs and flags by the script.
#[test]
fn bash_completes_verbs_and_toggles() {
    let output = ablate().args(["completions", "bash"]).output().unwrap();
    assert!(output.status.success());
    let complete = |words: &str| {
        let ask = format!(
            "{}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             function=$(complete -p uring-ablate | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
             \"$function\" uring-ablate \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            String::from_utf8_lossy(&output.stdout)
        );
        let said = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_string()
    };
    assert_eq!(complete("uring-ablate comp"), "compare completions");
    assert_eq!(complete("uring-ablate bench --iop"), "--iopoll");
}

/// Every verb has a page, and `man` can show it.
#[test]
fn every_verb_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ablate().arg("man").arg(dir.path().join("man1")).status().unwrap().success());
    let help = ablate().arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout);
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).map_while(|line| line.split_whitespace().next());
    for verb in verbs.filter(|verb| *verb != "help") {
        let page = std::fs::read_to_string(dir.path().join(format!("man1/uring-ablate-{verb}.1")))
            .unwrap_or_else(|e| panic!("{verb}: {e}"));
        assert!(page.contains(".SH SYNOPSIS"), "{verb}");
    }
    let Ok(shown) = Command::new("man").arg("-l").arg(dir.path().join("man1/uring-ablate.1")).stderr(Stdio::piped()).output()
    else {
        return skip("guide::every_verb_has_a_page", "man is not installed");
    };
    assert!(String::from_utf8_lossy(&shown.stdout).contains("uring-ablate"), "{}", String::from_utf8_lossy(&shown.stderr));
}

#[test]
fn a_manual_that_cannot_be_written_is_said() {
    let output = ablate().args(["man", "/proc/nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the manual into /proc/nothing"));
}
