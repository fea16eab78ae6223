//! On which CPUs jobs run: those that were asked for, or none.

use crate::support::{Bench, READS, SMALL_TARGET, ablate, experiment, skip};
use std::process::{Command, Output};
use uring_ablate::engine::numa;
use uring_ablate::toggle::seats::cpu_text;

/// The binary, as a process that may run on one CPU.
fn on_cpu(cpu: u32, args: &[&str]) -> Output {
    Command::new("taskset").args(["-c", &cpu.to_string(), env!("CARGO_BIN_EXE_uring-ablate")]).args(args).output().unwrap()
}

/// A run with `[engine]` keys.
fn with_engine(engine: &str, toggle: &str) -> Bench {
    Bench::new(&experiment(SMALL_TARGET, READS, &format!("toggles = [\"{toggle}\"]"), &format!("[engine]\n{engine}")))
}

#[test]
fn cpus_that_this_process_cannot_have_are_refused_and_never_replaced() {
    let own = numa::allowed();
    let text = cpu_text(&own);
    for (engine, names) in [("cpus = [77]", "cpus names CPU 77"), ("sqpoll_cpu = 4097", "sqpoll_cpu names CPU 4097")] {
        let bench = with_engine(engine, "cpu_affinity");
        let plan = ablate().arg("plan").arg(&bench.file).output().unwrap();
        for output in [plan, bench.run(&[])] {
            let verdict = bench.verdict(&output);
            assert!(verdict.starts_with("exit 2\n") && verdict.contains(&format!("[engine] {names}")), "{verdict}");
            assert!(verdict.contains(&format!("CPUs {text} only")), "{verdict}");
        }
        assert!(!bench.out().exists(), "nothing ran");
    }
    let (Some(first), Some(last)) = (own.first(), own.last().filter(|_| own.len() > 1)) else {
        return skip("cpus_that_this_process_cannot_have_are_refused_and_never_replaced", "this process may run on one CPU only");
    };
    // There is such a CPU, and this user did not want it used.
    let bench = with_engine(&format!("cpus = [{last}]"), "cpu_affinity");
    let verdict = bench.verdict(&on_cpu(*first, &["plan", bench.file.to_str().unwrap()]));
    assert!(verdict.starts_with("exit 2\n") && verdict.contains(&format!("CPUs {first} only")), "{verdict}");
}

#[test]
fn one_cpu_is_told_as_such() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, "toggles = [\"batch_submit\", \"cpu_affinity\"]", ""));
    let only = numa::allowed()[0];
    let plan = on_cpu(only, &["plan", bench.file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&plan.stdout);
    let dropped = text.lines().find(|l| l.contains("dropped")).unwrap_or_else(|| panic!("{}", bench.verdict(&plan)));
    assert!(dropped.contains("dropped cpu_affinity") && dropped.contains(&format!("may run on CPU {only} alone")), "{dropped}");
}

/// A kernel with 1100 possible CPUs refuses masks of fewer.
#[test]
fn a_kernel_with_more_than_1024_possible_cpus_is_asked_with_a_larger_mask() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let small = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Lt, 1100_u64.next_multiple_of(64) / 8).unwrap();
    let rules = [(libc::SYS_sched_getaffinity, vec![SeccompRule::new(vec![small]).unwrap()])].into();
    let refused = SeccompAction::Errno(libc::EINVAL as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into().unwrap());
    seccompiler::apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
    let args = ["--rw", "nop", "--iodepth", "8", "--runtime", "50ms", "--size", "16m", "--cpu-affinity", "on", "--json"];
    let output = ablate().arg("bench").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if numa::allowed().len() == 1 {
        assert!(said.contains("alone"), "{said}");
        return skip(
            "a_kernel_with_more_than_1024_possible_cpus_is_asked_with_a_larger_mask",
            "this process may run on one CPU only",
        );
    }
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((&row["outcome"], &row["eff_cpu_affinity"]), (&"completed".into(), &"on".into()), "{row} {said}");
}
