//! Charts as pixels: plotters draws the shapes, and this file the text, by the bundled fonts. Plotters' own text needs a font parser that nobody
//! maintains (RUSTSEC-2026-0192). Text lies where the SVG of the same chart has it: the same font size, the same baseline.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind};
use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, MetadataProvider};

type Drawn<'a> = Result<(), DrawingErrorKind<<Bitmap<'a> as DrawingBackend>::ErrorType>>;

/// A bitmap of three bytes a pixel.
pub struct Bitmap<'a>(BitMapBackend<'a>);

impl<'a> Bitmap<'a> {
    /// Draws into `pixels`.
    pub fn new(pixels: &'a mut [u8], size: (u32, u32)) -> Bitmap<'a> {
        Bitmap(BitMapBackend::with_buffer(pixels, size))
    }
}

impl<'a> DrawingBackend for Bitmap<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Drawn<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Drawn<'a> {
        self.0.draw_pixel(at, colour)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn<'a> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn<'a> {
        self.0.draw_rect(from, to, style, fill)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn<'a> {
        let line = Line::new(text, style);
        let (colour, turn) = (style.color(), style.transform());
        let dx = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -line.width / 2.0,
            HPos::Right => -line.width,
        };
        // What plotters writes into an SVG: 0.76em, 0.5ex and -0.5ex.
        let baseline = match style.anchor().v_pos {
            VPos::Top => 0.76 * line.em,
            VPos::Center => line.x_height / 2.0,
            VPos::Bottom => -line.x_height / 2.0,
        };
        let (left, up) = (dx.floor() as i32, baseline.round() as i32 - line.ascent() as i32);
        let mut drawn = Ok(());
        line.coverage(dx - dx.floor()).for_each_pixel_2d(|column, row, covered| {
            let (across, down) = turn.transform(left + column as i32, up + row as i32);
            let alpha = colour.alpha * f64::from(covered.min(1.0));
            if alpha > 0.0 && drawn.is_ok() {
                drawn = self.0.draw_pixel((x + across, y + down), BackendColor { alpha, ..colour });
            }
        });
        drawn
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Self::ErrorType>> {
        let line = Line::new(text, style);
        Ok((line.width.ceil() as u32, line.em.ceil() as u32))
    }
}

/// A line of text in a font of a size.
struct Line<'t> {
    font: FontRef<'static>,
    text: &'t str,
    /// Pixels to an em.
    em: f32,
    x_height: f32,
    width: f32,
}

impl<'t> Line<'t> {
    fn new<S: BackendTextStyle>(text: &'t str, style: &S) -> Line<'t> {
        let bytes: &'static [u8] = match style.style() {
            FontStyle::Bold => include_bytes!("font/DejaVuSans-Bold.ttf"),
            FontStyle::Normal | FontStyle::Oblique | FontStyle::Italic => include_bytes!("font/DejaVuSans.ttf"),
        };
        let font = FontRef::new(bytes).expect("the bundled font is a font");
        // Plotters' sizes are those of a line, of which an SVG's font has so much.
        let em = (style.size() / 1.24) as f32;
        let x_height = font.metrics(Size::new(em), LocationRef::default()).x_height.unwrap_or(em / 2.0);
        let mut line = Line { font, text, em, x_height, width: 0.0 };
        line.width = line.glyphs().map(|(_, advance)| advance).sum();
        line
    }

    /// Every glyph, and how far it moves the next; the bundled fonts have no table of kerning.
    fn glyphs(&self) -> impl Iterator<Item = (skrifa::GlyphId, f32)> {
        let characters = self.font.charmap();
        let metrics = self.font.glyph_metrics(Size::new(self.em), LocationRef::default());
        self.text.chars().map(move |c| {
            let glyph = characters.map(c).unwrap_or_default();
            (glyph, metrics.advance_width(glyph).unwrap_or_default())
        })
    }

    /// Rows above the baseline; glyphs of these fonts stay within one em above and half an em below.
    fn ascent(&self) -> f32 {
        self.em.ceil()
    }

    /// How much of each pixel is ink, with the line beginning at `x`.
    fn coverage(&self, mut x: f32) -> Rasterizer {
        let rows = self.ascent() + (self.em / 2.0).ceil();
        let mut ink = Ink::new((x + self.width).ceil() as usize + 1, rows as usize);
        let outlines = self.font.outline_glyphs();
        for (glyph, advance) in self.glyphs() {
            ink.origin = point(x, self.ascent());
            let settings = DrawSettings::unhinted(Size::new(self.em), LocationRef::default());
            let drawn = outlines.get(glyph).map(|outline| outline.draw(settings, &mut ink));
            assert!(drawn.is_none_or(|d| d.is_ok()), "the bundled font can be drawn");
            x += advance;
        }
        ink.raster
    }
}

/// Outlines on their way into a raster.
struct Ink {
    raster: Rasterizer,
    origin: Point,
    start: Point,
    pen: Point,
}

impl Ink {
    fn new(columns: usize, rows: usize) -> Ink {
        let zero = point(0.0, 0.0);
        Ink { raster: Rasterizer::new(columns, rows), origin: zero, start: zero, pen: zero }
    }

    /// Fonts count upwards, rasters downwards.
    fn place(&self, x: f32, y: f32) -> Point {
        point(self.origin.x + x, self.origin.y - y)
    }
}

impl OutlinePen for Ink {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.place(x, y);
        self.pen = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.place(x, y);
        self.raster.draw_line(self.pen, to);
        self.pen = to;
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let to = self.place(x, y);
        self.raster.draw_quad(self.pen, self.place(cx, cy), to);
        self.pen = to;
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        let to = self.place(x, y);
        self.raster.draw_cubic(self.pen, self.place(ax, ay), self.place(bx, by), to);
        self.pen = to;
    }

    fn close(&mut self) {
        self.raster.draw_line(self.pen, self.start);
        self.pen = self.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::style::text;

    /// The columns and rows of a bitmap that `text` at its middle leaves ink in.
    fn inked(text_drawn: &str, style: &TextStyle<'_>) -> (Vec<u32>, Vec<u32>) {
        let (width, height) = (400, 60);
        let mut pixels = vec![255; (width * height * 3) as usize];
        Bitmap::new(&mut pixels, (width, height)).draw_text(text_drawn, style, (200, 30)).unwrap();
        let dark = |x: u32, y: u32| pixels[((y * width + x) * 3) as usize] < 200;
        let columns = (0..width).filter(|x| (0..height).any(|y| dark(*x, y))).collect();
        (columns, (0..height).filter(|y| (0..width).any(|x| dark(x, *y))).collect())
    }

    #[test]
    fn text_lies_where_its_anchor_says() {
        let (size, drawn) = (20, "xxxxxxxxxx");
        let width = Line::new(drawn, &text(size, &BLACK)).width;
        let ends = |h: HPos| {
            let (columns, _) = inked(drawn, &crate::plot::style::at(text(size, &BLACK), h));
            (columns[0] as f32, *columns.last().unwrap() as f32)
        };
        for (h, begin) in [(HPos::Left, 200.0), (HPos::Center, 200.0 - width / 2.0), (HPos::Right, 200.0 - width)] {
            let (first, last) = ends(h);
            assert!((first - begin).abs() <= 2.0 && (last - (begin + width)).abs() <= 2.0, "{first} {last} {begin} {width}");
        }
        let (_, rows) = inked(drawn, &text(size, &BLACK));
        let middle = (rows[0] + rows.last().unwrap()) as f32 / 2.0;
        assert!((middle - 30.0).abs() <= 1.0, "the middle of small letters is at the anchor: {rows:?}");
    }

    /// Letters with holes and parts below the line, and what the charts write beside letters, none of which may be the font's sign for a missing one.
    #[test]
    fn the_fonts_have_what_charts_write() {
        for style in [text(13, &BLACK), crate::plot::style::bold(13)] {
            let line = Line::new("abgjpqyÅ 0123456789 %±×−·–→≥≤µ()[]{}/:;,.'\"+-=<>@#_|", &style);
            let missing: String =
                line.text.chars().zip(line.glyphs()).filter(|(_, (g, _))| g.to_u32() == 0).map(|(c, _)| c).collect();
            assert_eq!(missing, "");
        }
    }

    #[test]
    fn a_turned_text_is_the_same_text() {
        let style = text(20, &BLACK);
        let upright = inked("fall", &style);
        let turned = inked("fall", &style.transform(FontTransform::Rotate90));
        let span = |found: &[u32]| found.last().unwrap() - found[0];
        assert_eq!((span(&upright.0), span(&upright.1)), (span(&turned.1), span(&turned.0)));
    }
}
