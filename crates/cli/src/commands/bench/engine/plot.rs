//! Charts: the rate of reading over the prompt's length, and the summed rate of writing over the
//! number of answers; a line per chunk size.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;

use super::super::chart::{self, Chart, Line};
use super::rate::Rate;
use super::report::Report;

const SIZE: (u32, u32) = (960, 400);

/// Draws both charts into an SVG file.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(report: &Report, file: &Path) -> Result<()> {
    let lines = |rates: fn(&super::Setup) -> &Vec<Rate>| -> Vec<Line> {
        let line = |setup: &super::Setup| Line {
            name: format!("{} tokens a step", setup.step_tokens),
            points: sorted(rates(setup)),
        };
        report.setups.iter().map(line).collect()
    };
    let (prefill, decode) = (lines(|setup| &setup.prompts), lines(|setup| &setup.streams));
    let charts = [
        ("prefill of one prompt", "tokens of the prompt", &prefill),
        ("decode", "concurrent answers", &decode),
    ];
    let charts = charts.map(|(title, x_title, lines)| Chart {
        title,
        x_title,
        y_title: "tokens per second",
        x_label: chart::number,
        x_labels: 10,
        lines,
        dots: true,
        names: SeriesLabelPosition::LowerRight,
    });
    chart::draw(file, SIZE, &report.title(), &charts)
}

fn sorted(rates: &[Rate]) -> Vec<(f64, f64)> {
    let mut points: Vec<_> =
        rates.iter().map(|rate| (rate.of as f64, rate.tokens_per_second)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}
