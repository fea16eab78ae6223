//! A history's charts: what each series was night by night against the pinned reference, machines side by side.

mod panel;
mod slots;

use super::Error;
use super::axis::Frame;
use super::layout::{LINE_PITCH, flow, width_of};
use super::legend::sized;
use super::style::{Area, Chart, Drawn, GREEN, GREY, HATCH, INK, RED, frame, render, text};
use crate::durable::Dir;
use crate::exit::Exit;
use crate::nightly::row::{NightRow, SeriesRow, by_night};
use panel::{Mark, Panel, Point, Setting, broken, colour, dashed, mixed, ring, second};
use plotters::prelude::*;
use slots::Slots;
use std::collections::BTreeMap;
use std::path::PathBuf;

const WIDTH: i32 = 1200;
const LEFT: i32 = 84;
/// The date of the newest night stands below its end.
const RIGHT: i32 = 1160;
/// The first row of the legend.
const LEGEND: i32 = 88;
/// From the last row of the legend to a panel, with its title and its reasons.
const HEAD: i32 = 68;
const PANEL: i32 = 170;
const BETWEEN: i32 = 92;
const BOTTOM: i32 = 92;

/// Older slots are left out: nights would lie over each other.
const MOST: usize = 120;
/// Panels of a chart.
const PANELS: usize = 6;
/// Longer names of machines lose their end.
const LONGEST: usize = 32;

/// Draws the charts of every experiment of a history into `dir`; returns the files.
pub fn write(nights: &[NightRow], series: &[SeriesRow], dir: &Dir) -> Result<Vec<PathBuf>, Error> {
    let mut experiments: BTreeMap<&str, Vec<Night<'_>>> = BTreeMap::new();
    for (night, own) in by_night(nights, series) {
        experiments.entry(&night.experiment).or_default().push((night, own));
    }
    let mut files = Vec::new();
    for (name, nights) in experiments {
        let course = Course::new(nights);
        for sheet in course.sheets(name) {
            let name = if sheet.of > 1 { format!("{name}-{}", sheet.number) } else { name.into() };
            let drawn = render(dir, &name, &sheet)?;
            files.extend([drawn.svg, drawn.png]);
        }
    }
    Ok(files)
}

/// A night with its lines.
type Night<'a> = (&'a NightRow, &'a [SeriesRow]);

/// The nights of an experiment.
struct Course<'a> {
    machines: Vec<&'a str>,
    slots: Slots,
    /// Nights of each machine that are shown.
    counts: Vec<usize>,
    /// Those that find no room.
    older: usize,
    panels: Vec<Panel<'a>>,
    newest: &'a NightRow,
}

impl<'a> Course<'a> {
    /// Of at least one night.
    fn new(mut nights: Vec<Night<'a>>) -> Course<'a> {
        // Where histories were merged, machines do not take turns.
        nights.sort_by_key(|(night, _)| slots::began(night));
        let mut machines: Vec<&str> = nights.iter().map(|(night, _)| night.machine.as_str()).collect();
        machines.sort_unstable();
        machines.dedup();
        let machine = |night: &NightRow| machines.iter().position(|m| *m == night.machine).unwrap_or_default();
        let times: Vec<_> = nights.iter().map(|(night, _)| (slots::began(night), machine(night))).collect();
        let (slots, places) = Slots::new(&times, MOST);
        let mut counts = vec![0; machines.len()];
        let mut panels: Vec<Panel<'a>> = Vec::new();
        for ((night, rows), slot) in nights.iter().zip(&places) {
            let Some(slot) = *slot else { continue };
            let (machine, believed) = (machine(night), night.exit != Exit::SelfCheck as u8);
            counts[machine] += 1;
            for row in *rows {
                let point = Point { slot, machine, believed, row };
                match panels.iter_mut().find(|p| p.key == row.key()) {
                    Some(panel) => panel.points.push(point),
                    None => panels.push(Panel { key: row.key(), points: vec![point] }),
                }
            }
        }
        let older = places.iter().filter(|p| p.is_none()).count();
        let newest = nights[nights.len() - 1].0;
        Course { machines, slots, counts, older, panels, newest }
    }

    fn sheets(&self, name: &'a str) -> Vec<Sheet<'_>> {
        let of = self.panels.len().div_ceil(PANELS);
        let sheet = |(i, panels)| Sheet { course: self, name, panels, number: i + 1, of };
        self.panels.chunks(PANELS).enumerate().map(sheet).collect()
    }

    fn subtitle(&self) -> String {
        let (shown, row) = (self.counts.iter().sum::<usize>(), self.panels.first().and_then(|p| p.points.last()));
        let nights = match (shown, self.older) {
            (1, 0) => "one night".into(),
            (shown, 0) => format!("{shown} nights in order of time, evenly spaced"),
            (shown, older) => format!("the newest {shown} of {} nights in order of time, evenly spaced", shown + older),
        };
        let percent = row.map_or(95.0, |p| p.row.confidence * 100.0);
        format!(
            "change of the candidate against the reference, which is 0 %; {nights}; bars: {percent:.0} % intervals over the rounds of a night; what lies outside of a panel is shown at its edge"
        )
    }

    fn foot(&self) -> String {
        let NightRow { night, machine, cpu, kernel, platform, version, reference, .. } = self.newest;
        let of = if self.machines.len() > 1 { format!(" (of {machine})") } else { String::new() };
        format!("newest night {night}{of}: {cpu}; {kernel}; {platform}; reference {reference}; uring-ablate {version}")
    }
}

/// A chart of some panels.
struct Sheet<'a> {
    course: &'a Course<'a>,
    name: &'a str,
    panels: &'a [Panel<'a>],
    number: usize,
    of: usize,
}

/// What the legend explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Machine(usize),
    Level,
    Segment,
    Gap,
    Found(Mark),
}

impl Sheet<'_> {
    /// What is drawn, with its text: no more than that is explained.
    fn items(&self) -> Vec<(Item, String)> {
        let Course { machines, counts, slots, .. } = self.course;
        let points = || self.panels.iter().flat_map(|p| &p.points);
        let nights = |i: usize| format!("{} {}", counts[i], if counts[i] == 1 { "night" } else { "nights" });
        let name = |i: usize| machines[i].chars().take(LONGEST).collect::<String>();
        let mut items: Vec<(Item, String)> =
            (0..machines.len()).map(|i| (Item::Machine(i), format!("{}: {}", name(i), nights(i)))).collect();
        if points().any(|p| p.row.level_nights > 0) {
            items.push((Item::Level, "level before the night".into()));
        }
        if self.panels.iter().any(|p| !p.boundaries(machines).is_empty()) {
            items.push((Item::Segment, "a segment begins".into()));
        }
        if !slots.gaps.is_empty() {
            items.push((Item::Gap, "no night for longer than usual".into()));
        }
        let found = [
            (Mark::Ring, "alarm, not confirmed by the second run"),
            (Mark::Worse, "regression, confirmed by the second run"),
            (Mark::Better, "improvement, confirmed by the second run"),
            (Mark::Pale, "inconclusive"),
            (Mark::Unbelieved, "control failed: not believed"),
        ];
        let seen = found.into_iter().filter(|(mark, _)| points().any(|p| p.mark() == *mark));
        items.extend(seen.map(|(mark, name)| (Item::Found(mark), name.into())));
        items
    }

    /// Left ends and rows of the legend.
    fn places(items: &[(Item, String)]) -> Vec<(i32, i32)> {
        let widths: Vec<i32> = items.iter().map(|(_, name)| 44 + width_of(name, 13)).collect();
        flow(&widths, 30, WIDTH - 10)
    }

    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let items = self.items();
        let alone = if self.course.machines.len() > 1 { GREY } else { colour(0) };
        for ((item, name), (x, row)) in items.iter().zip(Self::places(&items)) {
            let y = LEGEND + LINE_PITCH * row;
            match *item {
                Item::Machine(i) => sized(area, i, 5, &colour(i), (x, y))?,
                Item::Level => {
                    area.draw(&PathElement::new(vec![(x - 10, y), (x + 8, y)], alone.mix(0.5).stroke_width(2)))?;
                }
                Item::Segment => dashed(area, x, (y - 8, y + 8))?,
                Item::Gap => {
                    area.draw(&Rectangle::new([(x - 8, y - 8), (x + 8, y + 6)], HATCH.filled()))?;
                    broken(area, (x, y))?;
                }
                Item::Found(mark) => found(area, mark, alone, (x, y))?,
            }
            area.draw(&Text::new(name.clone(), (x + 16, y), text(13, &INK)))?;
        }
        Ok(())
    }

    fn top(&self) -> i32 {
        LEGEND + HEAD + LINE_PITCH * Self::places(&self.items()).last().map_or(0, |place| place.1)
    }
}

fn found<DB: DrawingBackend>(area: &Area<DB>, mark: Mark, own: RGBColor, (x, y): (i32, i32)) -> Drawn<DB> {
    let beside = |colour| second(area, (x - 9, [y + 7, y - 1, y - 7]), colour, 2);
    match mark {
        Mark::Ring => beside(GREY).and_then(|()| ring(area, 0, 6, own, (x, y))),
        Mark::Worse => beside(RED).and_then(|()| sized(area, 0, 6, &RED, (x, y))),
        Mark::Better => beside(GREEN).and_then(|()| sized(area, 0, 6, &GREEN, (x, y))),
        Mark::Pale => sized(area, 0, 4, &mixed(own, 0.4), (x, y)),
        Mark::Unbelieved => sized(area, 0, 4, &GREY, (x, y)),
        Mark::Plain => sized(area, 0, 4, &own, (x, y)),
    }
}

impl Chart for Sheet<'_> {
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len() as i32;
        (WIDTH as u32, (self.top() + rows * PANEL + (rows - 1).max(0) * BETWEEN + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let Course { machines, slots, .. } = self.course;
        let part = if self.of > 1 { format!(" ({} of {})", self.number, self.of) } else { String::new() };
        frame(area, &format!("Night by night: {}{part}", self.name), &self.course.subtitle(), &self.course.foot())?;
        self.legend(area)?;
        for (row, panel) in (0..).zip(self.panels) {
            let top = self.top() + row * (PANEL + BETWEEN);
            let frame = Frame { left: LEFT, right: RIGHT, top, bottom: top + PANEL };
            panel.draw(area, Setting { slots, machines, frame })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::row::Finding;

    /// Nights of `machine`, a day apart, of one series.
    fn history(machine: &str, findings: &[Finding]) -> (Vec<NightRow>, Vec<SeriesRow>) {
        let night = |day: usize| NightRow {
            machine: machine.into(),
            started_utc: format!("2026-01-{:02}T03:00:00Z", day + 1),
            series_rows: 1,
            ..NightRow::example()
        };
        let row = |finding: &Finding| SeriesRow { finding: *finding, level_nights: 3, ..SeriesRow::example() };
        ((0..findings.len()).map(night).collect(), findings.iter().map(row).collect())
    }

    fn course<'a>(nights: &'a [NightRow], series: &'a [SeriesRow]) -> Course<'a> {
        Course::new(nights.iter().zip(series.chunks(nights[0].series_rows as usize)).collect())
    }

    #[test]
    fn nights_are_marked_by_what_was_found_and_segments_by_why_they_begin() {
        use Finding::{Improved, Inconclusive, Regressed, Steady, Unconfirmed};
        let (mut nights, mut series) = history("a", &[Steady, Inconclusive, Unconfirmed, Improved, Steady, Regressed]);
        nights[4].exit = Exit::SelfCheck as u8;
        for row in &mut series[4..] {
            (row.segment, row.segment_began) = (2, "improved by 2.0 % in 20260104T030000Z-a".into());
        }
        let course = course(&nights, &series);
        let marks: Vec<Mark> = course.panels[0].points.iter().map(Point::mark).collect();
        assert_eq!(marks, [Mark::Plain, Mark::Pale, Mark::Ring, Mark::Better, Mark::Unbelieved, Mark::Worse]);
        assert_eq!(course.panels[0].boundaries(&course.machines), [(4, "improved by 2.0 %".to_string())]);
        let sheets = course.sheets("nightly");
        let items: Vec<Item> = sheets[0].items().into_iter().map(|i| i.0).collect();
        assert_eq!(items[..3], [Item::Machine(0), Item::Level, Item::Segment]);
        let found = [Mark::Ring, Mark::Worse, Mark::Better, Mark::Pale, Mark::Unbelieved].map(Item::Found);
        assert_eq!(items[3..], found);
    }

    #[test]
    fn machines_share_panels_whatever_the_order_of_their_nights() {
        let ((mut nights, mut series), (more, rows)) = (history("b", &[Finding::Steady; 3]), history("a", &[Finding::Steady; 2]));
        nights.extend(more);
        series.extend(rows);
        series[2].segment = 2;
        let course = course(&nights, &series);
        let places: Vec<_> = course.panels[0].points.iter().map(|p| (p.slot, p.machine)).collect();
        assert_eq!((course.machines.as_slice(), course.panels.len()), (["a", "b"].as_slice(), 1));
        assert_eq!(places, [(0, 1), (0, 0), (1, 1), (1, 0), (2, 1)]);
        assert_eq!(course.panels[0].boundaries(&course.machines), [(2, "segment 2 on b".to_string())]);
    }

    #[test]
    fn a_chart_has_six_panels_and_its_number_where_there_are_more() {
        let home = tempfile::tempdir().unwrap();
        let dir = &Dir::open(home.path()).unwrap();
        assert!(write(&[], &[], dir).unwrap().is_empty());
        let night = NightRow { series_rows: 7, ..NightRow::example() };
        let row = |i: usize| SeriesRow { cell: format!("cell-{i}"), ..SeriesRow::example() };
        let series: Vec<SeriesRow> = (0..7).map(row).collect();
        let files = write(std::slice::from_ref(&night), &series, dir).unwrap();
        let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["nightly-1.svg", "nightly-1.png", "nightly-2.svg", "nightly-2.png"]);
        let panels = |file: &PathBuf| std::fs::read_to_string(file).unwrap().matches("higher is better").count();
        assert_eq!([panels(&files[0]), panels(&files[2])], [6, 1]);
        let alone = write(&[NightRow { series_rows: 1, ..night }], &series[..1], dir).unwrap();
        assert_eq!(alone, ["nightly.svg", "nightly.png"].map(|name| dir.join(name)));
    }
}
