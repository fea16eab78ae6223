//! Tables of runs in a document: made from the run, and only between markers; what cannot be followed is said with its line.

use crate::reports::{CELL, make};
use std::fs;
use uring_ablate::report::splice::spliced;

#[test]
fn what_stands_between_markers_is_made_anew_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("run")).unwrap();
    make(&home.path().join("run"));
    let old = format!("before\n<!-- begin toggles {CELL} of run -->\nold\nolder\n<!-- end -->\nafter\n");
    let new = spliced(&old, home.path()).unwrap();
    assert!(new.starts_with("before\n<!-- begin toggles ") && new.ends_with(" |\n<!-- end -->\nafter\n"), "{new}");
    assert!(new.contains("| fixed_buffers | 1.") && !new.contains("old"), "{new}");
    assert_eq!(spliced(&new, home.path()).unwrap(), new, "once is enough");
}

#[test]
fn a_marker_that_cannot_be_followed_is_an_error_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let fails = |marker: &str| spliced(&format!("text\n{marker}\n<!-- end -->\n"), home.path()).unwrap_err().to_string();
    assert!(fails("<!-- begin toggles -->").starts_with("line 2: "), "{}", fails("<!-- begin toggles -->"));
    assert!(fails("<!-- begin weather of . -->").contains("write <!-- begin SECTION of RUN -->"));
    assert!(fails("<!-- begin toggles write-4k-qd1-j1 of . -->").ends_with(&format!("it has {CELL}")));
    assert!(fails("<!-- begin answer of nowhere -->").contains("nowhere: No such file"));
    let open = spliced("<!-- begin answer of . -->\n", home.path()).unwrap_err().to_string();
    let next = spliced("<!-- begin answer of . -->\n<!-- begin advice of . -->\n<!-- end -->\n", home.path()).unwrap_err();
    assert_eq!(next.to_string(), open, "the next marker is not swallowed");
    assert_eq!(fails("<!-- begin claims of . -->"), "line 2: . has nothing to show there");
    assert_eq!(open, "line 1: no <!-- end --> follows this marker");
}
