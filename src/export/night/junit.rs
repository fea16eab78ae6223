//! JUnit XML: a suite for each cell, a case for each series; a confirmed regression is a failure.

use crate::nightly::row::{Finding, NightRow, SeriesRow};
use crate::report::night::{found, sentence};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The whole report.
pub fn text(night: &NightRow, series: &[SeriesRow]) -> String {
    let mut report = Report::new(night.experiment.clone());
    let mut cells: Vec<&str> = series.iter().map(|row| row.cell.as_str()).collect();
    cells.dedup();
    for cell in cells {
        let mut suite = TestSuite::new(cell);
        suite.add_test_cases(series.iter().filter(|row| row.cell == cell).map(case));
        report.add_test_suite(suite);
    }
    report.to_string().unwrap_or_else(|e| format!("<!-- {e} -->\n"))
}

fn case(row: &SeriesRow) -> TestCase {
    let mut status = match row.finding {
        Finding::Regressed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Finding::Inconclusive => TestCaseStatus::skipped(),
        Finding::Steady | Finding::Unconfirmed | Finding::Improved => TestCaseStatus::success(),
    };
    if row.finding != Finding::Steady {
        status.set_message(sentence(row));
    }
    let mut case = TestCase::new(row.metric.clone(), status);
    case.set_classname(row.cell.clone());
    case.set_system_out(format!("{}\n{}", sentence(row), found(row)));
    case
}

#[cfg(test)]
mod tests {
    use super::super::tests::two;
    use super::*;

    #[test]
    fn a_confirmed_regression_alone_is_a_failure() {
        let xml = text(&NightRow::example(), &two());
        let report = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!((report.tests, report.failures, report.test_suites.len()), (2, 1, 1));
        assert!(xml.contains("3.0 %") && xml.contains("since 20260101T030000Z-host"), "{xml}");
    }
}
