//! Charts of a load: times over time, completed tasks over time, and times by percentile.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::{Figures, Time};

const SIZE: (u32, u32) = (1_260, 380);
const FONT: &str = "sans-serif";
/// Points of the chart by percentile. The axis is the number of nines, so that the tail is wide.
const POINTS: usize = 100;
const MOST_NINES: f64 = 3.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Line = (String, Vec<(f64, f64)>);

/// Draws the charts into an SVG file.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(figures: &Figures, file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(broken)?;
    let (left, others) = area.split_horizontally(SIZE.0 / 3);
    let (middle, right) = others.split_horizontally(SIZE.0 / 3);
    let over_time = |pick: fn(&(f64, f64)) -> f64| {
        let slices = figures.slices.iter();
        slices.filter_map(|slice| Some((slice.at, pick(slice.total.as_ref()?)))).collect()
    };
    let lines: [Line; 2] = [
        ("p50".to_owned(), over_time(|total| total.0)),
        ("p95".to_owned(), over_time(|total| total.1)),
    ];
    let beginning = "seconds since the beginning";
    let seconds = |x: f64| format!("{}", (100.0 * x).round() / 100.0);
    chart(&left, ("total, in seconds", beginning), &lines, (8, seconds))?;
    let rate = figures.slices.iter().map(|slice| (slice.at, slice.per_second)).collect();
    let lines: [Line; 1] = [("completed".to_owned(), rate)];
    chart(&middle, ("tasks per second", beginning), &lines, (8, seconds))?;
    let by_share = |(name, time): (&str, Time)| -> Line {
        let points = (0..=POINTS).filter_map(|at| {
            let nines = MOST_NINES * at as f64 / POINTS as f64;
            Some((nines, figures.percentile(time, 1.0 - 10_f64.powf(-nines))?))
        });
        (name.to_owned(), points.collect())
    };
    let lines = Time::ALL.map(by_share);
    // One label per nine.
    let percent = |nines: f64| format!("{} %", 100.0 - 10_f64.powf(2.0 - nines));
    chart(&right, ("seconds by percentile", "percentile"), &lines, (4, percent))?;
    area.present().map_err(broken)
}

/// Draws one chart, with both axes from zero.
fn chart(
    area: &Area<'_>,
    (title, x_title): (&str, &str),
    lines: &[Line],
    (labels, label): (usize, impl Fn(f64) -> String),
) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    if points().next().is_none() {
        return Ok(());
    }
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (x, y) = (0.0..most(|point| point.0), 0.0..1.15 * most(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 14))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(x, y)
        .map_err(broken)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x_title)
        .x_labels(labels)
        .x_label_formatter(&|x| label(*x))
        .draw()
        .map_err(broken)?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let style = Palette99::pick(index).to_rgba().stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))
            .map_err(broken)?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot can't be drawn: {error}")
}
