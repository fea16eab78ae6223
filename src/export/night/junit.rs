//! JUnit XML: a suite for each cell, a case for each series; a confirmed regression is a failure, a failed control an error of every case.

use crate::exit::Exit;
use crate::nightly::row::{Finding, NightRow, SeriesRow};
use crate::nightly::verdict::sentence;
use crate::report::night::found;
use crate::text::line;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The whole report.
pub fn text(night: &NightRow, series: &[SeriesRow]) -> String {
    let mut report = Report::new(line(&night.experiment));
    if let Ok(wall) = Duration::try_from_secs_f64(night.wall_s) {
        report.set_time(wall);
    }
    // A report adds up what a suite has when it is added, and nothing later.
    let mut suites: Vec<TestSuite> = Vec::new();
    for row in series {
        let place = suites.iter().position(|suite| suite.name.as_str() == line(&row.cell));
        let place = place.unwrap_or_else(|| {
            suites.push(TestSuite::new(line(&row.cell)));
            suites.len() - 1
        });
        suites[place].add_test_case(case(night, row));
    }
    report.add_test_suites(suites);
    report.to_string().unwrap_or_else(|e| format!("<!-- {e} -->\n"))
}

fn case(night: &NightRow, row: &SeriesRow) -> TestCase {
    let believed = night.exit != Exit::SelfCheck as u8;
    let mut status = match row.finding {
        _ if !believed => TestCaseStatus::non_success(NonSuccessKind::Error),
        Finding::Regressed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Finding::Inconclusive => TestCaseStatus::skipped(),
        Finding::Steady | Finding::Unconfirmed | Finding::Improved => TestCaseStatus::success(),
    };
    if !believed {
        status.set_message(line(&night.summary));
    } else if row.finding != Finding::Steady {
        status.set_message(line(&sentence(row)));
    }
    let mut case = TestCase::new(line(&row.metric), status);
    case.set_classname(line(&row.cell));
    case.set_system_out(format!("{}\n{}", line(&sentence(row)), line(&found(row))));
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

    #[test]
    fn a_failed_control_lets_no_case_pass() {
        let night = NightRow { exit: Exit::SelfCheck as u8, summary: "two copies differ".into(), ..NightRow::example() };
        let report = Report::deserialize_from_str(&text(&night, &two())).unwrap();
        assert_eq!((report.tests, report.failures, report.errors), (2, 0, 2));
    }
}
