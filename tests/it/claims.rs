//! Claims on a run of known truth: each gets the verdict that the truth gives it, with what was measured beside it.

use crate::reports::{CELL, make};
use std::fs;
use std::path::Path;
use uring_ablate::analysis::Model;
use uring_ablate::analysis::claim::{Judged, Ruling, judge_all};
use uring_ablate::experiment::{Claim, Says};

/// A profile of twelve rounds: registered buffers take 190 ns of pinning away, and nothing of the mapping that was never there.
fn profiled(dir: &Path) {
    make(dir);
    let mut text = String::from("round,cell,treatment,side,context,category,symbol,samples,share,ns_per_op\n");
    for round in 1..=12 {
        let wobble = f64::from(round % 3);
        for (treatment, pinning) in [("without:fixed_buffers", 200.0), ("full", 10.0)] {
            let pinning = pinning + wobble;
            for (category, ns) in [("page_pinning", pinning), ("driver", 800.0 - wobble)] {
                let share = ns / (pinning + 800.0 - wobble);
                text += &format!("{round},{CELL},{treatment},own,submit,{category},,{ns},{share},{ns}\n");
            }
        }
    }
    fs::write(dir.join("overhead.csv"), text).unwrap();
}

fn claim(toggle: &str, says: Says) -> Claim {
    Claim { text: "as somebody said".into(), toggle: Some(toggle.into()), block_size_bytes: None, says }
}

fn share(cause: &str, before: (f64, f64), after: (f64, f64)) -> Says {
    Says::Share { causes: vec![cause.into()], before: Some(before), after: Some(after) }
}

fn judged(claims: &[Claim]) -> Vec<Judged> {
    let home = tempfile::tempdir().unwrap();
    profiled(home.path());
    judge_all(&Model::load(home.path()).unwrap(), claims)
}

#[test]
fn every_claim_gets_the_verdict_of_the_truth() {
    let ratio = Says::Ratio { peer: "fio:matched".into(), range: (0.7, 0.8) };
    let cases = [
        (claim("fixed_buffers", Says::Pays), Ruling::Supported),
        (claim("fixed_files", Says::Pays), Ruling::Refuted),
        (claim("fixed_buffers", share("page_pinning", (15.0, 25.0), (0.0, 2.0))), Ruling::Supported),
        (claim("fixed_buffers", share("page_pinning", (33.0, 42.0), (0.0, 2.0))), Ruling::Partly),
        (claim("fixed_buffers", share("dma_mapping", (33.0, 42.0), (0.0, 1.0))), Ruling::Untestable),
        (claim("fixed_buffers", share("driver", (33.0, 42.0), (0.0, 1.0))), Ruling::Refuted),
        (claim("fixed_files", share("file_reference", (4.0, 8.0), (0.0, 1.0))), Ruling::Untestable),
        (claim("numa_bind", Says::Pays), Ruling::Untestable),
        (claim("fixed_buffers", ratio), Ruling::Untestable),
    ];
    let (claims, expected): (Vec<Claim>, Vec<Ruling>) = cases.into_iter().unzip();
    let found = judged(&claims);
    assert_eq!(found.iter().map(|j| j.ruling).collect::<Vec<_>>(), expected, "{found:#?}");
    let untested = found.iter().filter(|j| j.ruling == Ruling::Untestable);
    assert!(untested.flat_map(|j| &j.cells).all(|cell| !cell.remark.is_empty()), "what is missing is said: {found:#?}");
    let before = found[2].cells[0].before.unwrap();
    assert!((before.point - 20.0).abs() < 0.3 && before.lo <= before.point && before.point <= before.hi, "{before:?}");
}

#[test]
fn a_wrong_cause_is_answered_with_where_the_time_went() {
    let found = judged(&[claim("fixed_buffers", share("dma_mapping", (33.0, 42.0), (0.0, 1.0)))]);
    let instead = &found[0].cells[0].instead;
    assert_eq!(instead.iter().map(|c| c.category.as_str()).collect::<Vec<_>>(), ["page_pinning"]);
    assert!((instead[0].difference.unwrap() + 190.0).abs() < 1.0, "{instead:?}");
}

#[test]
fn a_claim_of_another_block_size_finds_no_workload() {
    let other = Claim { block_size_bytes: Some(131_072), ..claim("fixed_buffers", Says::Pays) };
    let found = judged(&[other]);
    assert_eq!((found[0].ruling, found[0].cells.len()), (Ruling::Untestable, 0));
}
