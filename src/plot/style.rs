//! What charts share: font, colours that colour-blind readers can tell apart, and the way to SVG and PNG.

use super::Error;
use super::bitmap::Bitmap;
use super::layout::{width_of, wrap};
use crate::durable::Dir;
use crate::text;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::PathBuf;

/// A drawing area that covers pixels.
pub type Area<DB> = DrawingArea<DB, Shift>;
/// What drawing on `DB` can end with.
pub type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Something that can be drawn on any backend.
pub trait Chart {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB>;
}

// Okabe and Ito's colours for colour-blind readers.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub const SKY: RGBColor = RGBColor(86, 180, 233);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const AMBER: RGBColor = RGBColor(230, 159, 0);
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);
// Three of Tol's, where eight are not enough.
pub const INDIGO: RGBColor = RGBColor(51, 34, 136);
pub const WINE: RGBColor = RGBColor(136, 34, 85);
pub const RED: RGBColor = RGBColor(204, 51, 17);
pub const GREY: RGBColor = RGBColor(110, 110, 110);
pub const LIGHT: RGBColor = RGBColor(225, 225, 225);
pub const HATCH: RGBColor = RGBColor(243, 243, 243);
pub const BAND: RGBColor = RGBColor(240, 236, 214);
pub const INK: RGBColor = RGBColor(30, 30, 30);

/// Text of a size and colour, anchored left and in the middle of the line.
pub fn text(size: i32, colour: &'static RGBColor) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size), FontStyle::Normal);
    TextStyle::from(font).color(colour).pos(Pos::new(HPos::Left, VPos::Center))
}

/// As [`text()`], bold.
pub fn bold(size: i32) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size), FontStyle::Bold);
    TextStyle::from(font).color(&INK).pos(Pos::new(HPos::Left, VPos::Center))
}

/// The same style, anchored at `horizontal`.
pub fn at(style: TextStyle<'static>, horizontal: HPos) -> TextStyle<'static> {
    style.pos(Pos::new(horizontal, VPos::Center))
}

/// Title at the top, provenance at the foot.
pub fn frame<DB: DrawingBackend>(area: &Area<DB>, title: &str, subtitle: &str, foot: &str) -> Drawn<DB> {
    area.fill(&WHITE)?;
    let (width, height) = area.dim_in_pixel();
    area.draw(&Text::new(title.to_string(), (20, 24), bold(20)))?;
    for (line, part) in wrap(subtitle, (width as usize - 40) / 8).into_iter().take(2).enumerate() {
        area.draw(&Text::new(part, (20, 46 + 17 * line as i32), text(13, &GREY)))?;
    }
    let room = (width as usize - 40) / 6;
    for (line, part) in wrap(foot, room).into_iter().take(2).enumerate() {
        area.draw(&Text::new(part, (20, height as i32 - 32 + 17 * line as i32), text(11, &GREY)))?;
    }
    Ok(())
}

/// Rounds as faint dots and an interval as a thick line, along whichever axis `place` follows.
pub fn evidence<DB: DrawingBackend>(
    area: &Area<DB>,
    rounds: impl Iterator<Item = f64>,
    bounds: Option<(f64, f64)>,
    colour: RGBColor,
    place: &dyn Fn(f64) -> (i32, i32),
) -> Drawn<DB> {
    for round in rounds {
        area.draw(&Circle::new(place(round), 2, colour.mix(0.3).filled()))?;
    }
    match bounds {
        Some((lo, hi)) => area.draw(&PathElement::new(vec![place(lo), place(hi)], colour.stroke_width(3))),
        None => Ok(()),
    }
}

/// The mark of a point with few valid rounds, in place of its dot: a cross, and what it is made of beside it.
pub fn doubtful<DB: DrawingBackend>(area: &Area<DB>, (x, y): (i32, i32), words: &str, colour: RGBColor) -> Drawn<DB> {
    for end in [-6, 6] {
        area.draw(&PathElement::new(vec![(x - 6, y - end), (x + 6, y + end)], colour.stroke_width(2)))?;
    }
    // To the left where there is no room to the right.
    let fits = x + 10 + width_of(words, 11) < area.dim_in_pixel().0 as i32;
    let (start, side) = if fits { (x + 10, HPos::Left) } else { (x - 10, HPos::Right) };
    area.draw(&Text::new(words.to_string(), (start, y - 10), at(text(11, &INK), side)))
}

/// What [`doubtful`] marks, for subtitles and legends.
pub const DOUBTFUL: &str = "crosses: fewer than 3 valid rounds";

/// The files of a chart that was drawn.
pub struct Files {
    pub svg: PathBuf,
    pub png: PathBuf,
    /// What the first of them holds.
    pub markup: String,
}

/// Draws a chart in memory and puts it in place as `stem.svg` and `stem.png` of a directory.
pub fn render(dir: &Dir, stem: &str, chart: &impl Chart) -> Result<Files, Error> {
    // `with_extension` would cut names at their last dot.
    let [(svg, svg_name), (png, png_name)] = ["svg", "png"].map(|suffix| {
        let name = format!("{stem}.{suffix}");
        (dir.join(&name), name)
    });
    let fail = |path: &PathBuf, reason: String| Error { path: path.clone(), reason };
    let (width, height) = chart.size();
    let mut markup = String::new();
    {
        let area = SVGBackend::with_string(&mut markup, (width, height)).into_drawing_area();
        chart.draw(&area).and_then(|()| area.present()).map_err(|e| fail(&svg, e.to_string()))?;
    }
    let markup = text::plain(&markup).into_owned();
    dir.replace(&svg_name, markup.as_bytes()).map_err(|e| fail(&svg, e.to_string()))?;
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let area = Bitmap::new(&mut pixels, (width, height)).into_drawing_area();
        chart.draw(&area).and_then(|()| area.present()).map_err(|e| fail(&png, e.to_string()))?;
    }
    let bytes = encoded(&pixels, width, height).map_err(|e| fail(&png, e.to_string()))?;
    dir.replace(&png_name, &bytes).map_err(|e| fail(&png, e.to_string()))?;
    Ok(Files { svg, png, markup })
}

/// Pixels as PNG.
fn encoded(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}
