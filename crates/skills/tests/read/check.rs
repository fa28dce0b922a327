//! What holds for every answer, and how long reading it may take.

use std::time::Duration;

use protocol::{SkillOutput, SkillUse, VisionFamily};
use skills::marks::{Picture, Shape};
use skills::read::{Answer, Reading, read};

use crate::seeds::processor_time;

/// What an answer of 20 KB may take; without optimization, which CI tests too, on a slow machine.
pub(crate) const LIMIT: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 50 });

/// Reads an answer.
pub(crate) fn read_of(
    output: SkillOutput,
    text: &str,
    family: VisionFamily,
    pictures: &[Picture],
) -> Reading {
    let skill = SkillUse {
        name: "x".into(),
        output,
        scale: 1000,
        actions: Vec::new(),
        draw: false,
        command: None,
    };
    read(&Answer { text, calls: &[], is_cut: false }, &skill, family, pictures)
}

/// Returns the result and its processor time.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = processor_time();
    let result = work();
    (result, processor_time() - began)
}

/// Returns the least processor time of several runs, which noise has the least part in.
pub(crate) fn best_of<T>(runs: usize, work: impl Fn() -> T) -> Duration {
    (0..runs).map(|_| timed(&work).1).min().unwrap_or_default()
}

/// Checks what holds for every reading.
pub(crate) fn check(reading: &Reading, picture: Picture, text: &str) {
    let (width, height) = (f64::from(picture.size.0), f64::from(picture.size.1));
    let is_on = |[x, y]: &[f64; 2]| (0.0..=width).contains(x) && (0.0..=height).contains(y);
    for mark in &reading.marks {
        assert_eq!(mark.picture, 0, "{text}");
        let is_good = match &mark.shape {
            Shape::Box([x1, y1, x2, y2]) => {
                is_on(&[*x1, *y1]) && is_on(&[*x2, *y2]) && x1 <= x2 && y1 <= y2
            }
            Shape::Point(at) => is_on(at),
            Shape::Polygon(corners) => corners.len() >= 3 && corners.iter().all(is_on),
            Shape::Arrow(ends) => ends.iter().all(is_on),
        };
        assert!(is_good, "{:?} is not on the image: {text}", mark.shape);
    }
    assert!(reading.structured.is_some() || !reading.warnings.is_empty(), "{text}");
    let longest = reading.warnings.iter().map(|warning| warning.chars().count()).max().unwrap_or(0);
    assert!(reading.warnings.len() <= 70 && longest < 1_000, "{:?}: {text}", reading.warnings);
    assert!(reading.warnings.iter().all(|warning| !warning.contains('\n')), "{text}");
    if let Some(structured) = &reading.structured {
        let written = structured.to_string();
        let html = structured.get("html").and_then(|html| html.as_str()).unwrap_or_default();
        check_html(html);
        assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok(), "{written}");
    }
}

/// Checks that HTML has nothing but `<name attribute="value">` and `</name>` of harmless elements.
pub(crate) fn check_html(html: &str) {
    const ATTRIBUTES: [&str; 11] = [
        "class", "style", "dir", "lang", "colspan", "rowspan", "start", "span", "width", "height",
        "alt",
    ];
    for tag in html.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap_or_else(|| panic!("no end: {html}"));
        assert!(!text.contains(['>', '"']), "{html}");
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let forbidden = [
            "script", "style", "iframe", "svg", "math", "object", "embed", "form", "input", "link",
            "meta", "base",
        ];
        if let Some(name) = tag.strip_prefix('/') {
            assert!(is_name(name) && !forbidden.contains(&name), "{html}");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(is_name(name) && !forbidden.contains(&name), "{html}");
        let mut parts = attributes.split('"');
        while let Some(attribute) = parts.next().filter(|attribute| !attribute.is_empty()) {
            let attribute =
                attribute.trim_start().strip_suffix('=').unwrap_or_else(|| panic!("{html}"));
            let value = parts.next().unwrap_or_else(|| panic!("{html}"));
            match attribute {
                "href" => assert!(
                    ["http://", "https://", "mailto:", "#"]
                        .iter()
                        .any(|scheme| value.to_lowercase().starts_with(scheme)),
                    "{html}"
                ),
                "style" => assert!(!value.contains(['(', '\\', '/']), "{html}"),
                attribute => assert!(ATTRIBUTES.contains(&attribute), "{html}"),
            }
        }
    }
}
