//! `report.html`: the text of `report.md` as one self-contained page, with its charts in it. Needs no network, runs no code but the sorting of
//! tables, and escapes whatever it prints.

use crate::plot::{Gallery, Picture};
use maud::{DOCTYPE, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};
use std::collections::HashSet;
use std::path::Path;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Words of tables that stand out, with the class that colours them.
const VERDICTS: [(&str, &str); 14] = [
    ("improved", "good"),
    ("supported", "good"),
    ("use it", "good"),
    ("regressed", "bad"),
    ("refuted", "bad"),
    ("leave it off", "bad"),
    ("partly", "mixed"),
    ("inconclusive", "open"),
    ("cannot be tested here", "open"),
    ("equivalent", "same"),
    ("different but negligible", "same"),
    ("different beyond the margin", "bad"),
    ("different", "mixed"),
    ("same", "same"),
];

/// The page of a report's Markdown.
pub fn page(markdown: &str, gallery: &Gallery) -> String {
    let events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let (mut body, mut contents, mut title) = (Vec::new(), Vec::new(), String::new());
    let mut used = HashSet::new();
    let (mut in_table, mut picture) = (false, None);
    for (i, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let text = text_of(&events[i + 1..]);
                let anchor = anchor(&text, &mut used);
                match level {
                    HeadingLevel::H1 => title.clone_from(&text),
                    HeadingLevel::H2 => contents.push((anchor.clone(), text)),
                    _ => {}
                }
                let id = Some(CowStr::from(anchor));
                body.push(Event::Start(Tag::Heading { level: *level, id, classes: vec![], attrs: vec![] }));
            }
            Event::Start(Tag::Image { dest_url, .. }) => picture = Some(dest_url.clone()),
            Event::End(TagEnd::Image) => {
                let drawn = picture
                    .take()
                    .and_then(|path| gallery.pictures.iter().find(|p| Path::new(&*path).file_name() == p.svg.file_name()));
                body.extend(drawn.map(chart));
            }
            _ if picture.is_some() => {}
            Event::Start(Tag::Table(_)) => {
                in_table = true;
                body.extend([Event::Html("<div class=\"table\">".into()), event.clone()]);
            }
            Event::End(TagEnd::Table) => {
                in_table = false;
                body.extend([event.clone(), Event::Html("</div>".into())]);
            }
            // No report has links of its own but to its charts: this is text that somebody wrote.
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => {}
            // The only markup of our own; all else is text that somebody wrote.
            Event::InlineHtml(tag) if &**tag == "<br>" => body.push(Event::HardBreak),
            Event::Html(text) | Event::InlineHtml(text) => body.push(Event::Text(text.clone())),
            Event::Text(text) if in_table => body.push(verdict(text)),
            other => body.push(other.clone()),
        }
    }
    let mut main = String::new();
    push_html(&mut main, body.into_iter());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="color-scheme" content="light dark";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("uring-ablate ", env!("CARGO_PKG_VERSION")));
                title { "uring-ablate: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                nav aria-label="Contents" {
                    @for (anchor, text) in &contents { a href={ "#" (anchor) } { (text) } " " }
                }
                main { (PreEscaped(main)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The words of a heading.
fn text_of(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|e| !matches!(e, Event::End(TagEnd::Heading(_))));
    let word = |e: &Event<'_>| match e {
        Event::Text(text) | Event::Code(text) => Some(text.to_string()),
        _ => None,
    };
    inside.filter_map(word).collect()
}

/// A name for links, used once.
fn anchor(text: &str, used: &mut HashSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let stem = text.chars().map(plain).collect::<String>().split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    let name = [stem.clone()].into_iter().chain(numbered).find(|name| !used.contains(name)).unwrap_or(stem);
    used.insert(name.clone());
    name
}

/// A chart as part of the page.
fn chart(picture: &Picture) -> Event<'static> {
    let of = picture.cell.as_ref().map_or_else(String::new, |cell| format!(" of {cell}"));
    let label = format!("chart: {}{of}", picture.kind);
    let svg = picture.markup.replacen("<svg ", "<svg aria-hidden=\"true\" ", 1);
    let markup = html! { span class="chart" role="img" aria-label=(label) { (PreEscaped(svg)) } };
    Event::InlineHtml(markup.into_string().into())
}

fn verdict<'a>(text: &CowStr<'a>) -> Event<'a> {
    match VERDICTS.iter().find(|(word, _)| **word == **text) {
        Some((word, class)) => Event::InlineHtml(html! { span class={ "verdict " (class) } { (word) } }.into_string().into()),
        None => Event::Text(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_escaped() {
        let text = "# <script>alert(1)</script>\n\n<img src=x onerror=y>\n\n| a |\n|---|\n| <b onclick=z> & one<br>two |\n";
        let page = page(text, &Gallery::default());
        assert!(page.contains("<title>uring-ablate: "), "{page}");
        for forbidden in ["<script>alert", "<img", "<b onclick"] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
        assert!(page.contains("one<br />"), "{page}");
    }

    #[test]
    fn a_workload_shows_its_own_charts_though_its_name_ends_with_that_of_another() {
        let picture = |cell: &str| {
            let svg = Path::new("plots").join(format!("{cell}-drift.svg"));
            Picture { cell: Some(cell.into()), kind: "drift", png: svg.clone(), svg, markup: "<svg ></svg>".into() }
        };
        let gallery = Gallery { pictures: ["read-4k", "randread-4k"].map(picture).into(), absent: vec![] };
        let page = page("![drift](<plots/randread-4k-drift.svg>)\n\n[a](javascript:alert(1))\n", &gallery);
        assert!(page.contains("chart: drift of randread-4k") && !page.contains("chart: drift of read-4k"), "{page}");
        assert!(!page.contains("javascript:"), "{page}");
    }

    #[test]
    fn headings_have_anchors_that_differ_and_verdicts_a_colour() {
        let page = page("# a\n\n## In short\n\n## In short\n\n| v |\n|---|\n| improved |\n", &Gallery::default());
        assert!(page.contains("id=\"in-short\"") && page.contains("id=\"in-short-2\""), "{page}");
        assert!(page.contains("<a href=\"#in-short-2\">"), "{page}");
        assert!(page.contains("<span class=\"verdict good\">improved</span>"), "{page}");
    }
}
