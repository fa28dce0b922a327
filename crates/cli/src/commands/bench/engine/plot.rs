//! Charts: the rate of reading over the prompt's length, and the summed rate of writing over the
//! number of answers; a line per chunk size.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Rate, Report};

const SIZE: (u32, u32) = (960, 400);
const FONT: &str = "sans-serif";

/// Draws both charts into an SVG file.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(report: &Report, file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    paint(report, &area).and_then(|()| area.present().map_err(broken))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn paint(report: &Report, area: &Area<'_>) -> Result<()> {
    area.fill(&WHITE).map_err(broken)?;
    let area = area.titled(&report.title(), (FONT, 15)).map_err(broken)?;
    let lines = |rates: fn(&super::Setup) -> &Vec<Rate>| -> Vec<Line> {
        let line = |setup: &super::Setup| Line {
            name: format!("{} tokens a step", setup.step_tokens),
            points: sorted(rates(setup)),
        };
        report.setups.iter().map(line).collect()
    };
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    chart(&left, "prefill of one prompt", "tokens of the prompt", &lines(|setup| &setup.prompts))?;
    chart(&right, "decode", "concurrent answers", &lines(|setup| &setup.streams))
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn sorted(rates: &[Rate]) -> Vec<(f64, f64)> {
    let mut points: Vec<_> =
        rates.iter().map(|rate| (rate.of as f64, rate.tokens_per_second)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Draws one chart, with both axes from zero.
fn chart(area: &Area<'_>, title: &str, x_title: &str, lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return Ok(());
    }
    let most =
        |of: fn(&(f64, f64)) -> f64| 1.1 * points().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 14))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))
        .map_err(broken)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x_title)
        .y_desc("tokens per second")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()
        .map_err(broken)?;
    for (index, line) in lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let style = color.stroke_width(2);
        let dots = line.points.iter().map(|point| Circle::new(*point, 3, color.filled()));
        chart.draw_series(dots).map_err(broken)?;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .map_err(broken)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font((FONT, 12))
        .background_style(WHITE)
        .draw()
        .map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
