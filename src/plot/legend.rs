//! Legends: what colours and shapes stand for.

use super::layout::{LINE_PITCH, flow};
use super::style::{Area, Drawn, INK, text};
use plotters::prelude::*;

/// What a colour stands for.
pub struct Key<'a> {
    pub name: &'a str,
    pub colour: RGBColor,
    /// A square in place of a dot.
    pub square: bool,
}

/// Keys in a row from a place on, in further rows where one is full.
pub fn legend<DB: DrawingBackend>(area: &Area<DB>, keys: &[Key<'_>], (left, top): (i32, i32)) -> Drawn<DB> {
    let end = area.dim_in_pixel().0 as i32 - 10;
    let widths: Vec<i32> = keys.iter().map(|key| 36 + 15 * key.name.chars().count() as i32 / 2).collect();
    for (key, (x, row)) in keys.iter().zip(flow(&widths, left, end)) {
        let y = top + LINE_PITCH * row;
        if key.square {
            area.draw(&Rectangle::new([(x, y - 4), (x + 8, y + 4)], key.colour.filled()))?;
        } else {
            area.draw(&Circle::new((x + 4, y), 5, key.colour.filled()))?;
        }
        area.draw(&Text::new(key.name.to_string(), (x + 14, y), text(13, &INK)))?;
    }
    Ok(())
}

/// The mark of one of several series, whose shapes differ, too: circle, square, triangle or diamond.
pub fn mark<DB: DrawingBackend>(area: &Area<DB>, series: usize, colour: RGBColor, place: (i32, i32)) -> Drawn<DB> {
    sized(area, series, 5, &colour, place)
}

/// As [`mark`], so many pixels from its middle to its sides.
pub fn sized<DB: DrawingBackend>(
    area: &Area<DB>,
    series: usize,
    size: i32,
    colour: &impl Color,
    (x, y): (i32, i32),
) -> Drawn<DB> {
    let (fill, tip) = (colour.filled(), size + 1);
    match series % 4 {
        0 => area.draw(&Circle::new((x, y), size, fill)),
        1 => area.draw(&Rectangle::new([(x - size, y - size), (x + size, y + size)], fill)),
        2 => area.draw(&Polygon::new(vec![(x - tip, y + size), (x + tip, y + size), (x, y - tip)], fill)),
        _ => area.draw(&Polygon::new(vec![(x - tip, y), (x, y - tip), (x + tip, y), (x, y + tip)], fill)),
    }
}
