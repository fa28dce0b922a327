//! Plots over time, as SVG elements.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::clock::short;
use crate::report::{Figures, Period, Report};

use super::RenderError;
use super::format::{period, thousands};

const SIZE: (u32, u32) = (960, 260);
const FONT: &str = "sans-serif";
/// Up to this number of periods each value has a dot.
const MAX_DOTS: usize = 60;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve: its name, and its value in a period, if it has one.
type Curve = (&'static str, fn(&Period) -> Option<f64>);

/// Draws the plots of a report; none if it has less than two periods.
pub(super) fn draw(report: &Report) -> Result<Vec<String>, RenderError> {
    if report.periods.len() < 2 {
        return Ok(Vec::new());
    }
    let tasks: [Curve; 3] = [
        ("success", |period| Some(period.row.success as f64)),
        ("error", |period| Some(period.row.error as f64)),
        ("cancelled", |period| Some(period.row.cancelled as f64)),
    ];
    let wait: [Curve; 3] = [
        ("p50", |period| period.row.queue_wait.map(|figures: Figures| figures.p50)),
        ("p95", |period| period.row.queue_wait.map(|figures| figures.p95)),
        ("p99", |period| period.row.queue_wait.map(|figures| figures.p99)),
    ];
    let total: [Curve; 3] = [
        ("p50", |period| period.row.total_time.map(|figures: Figures| figures.p50)),
        ("p95", |period| period.row.total_time.map(|figures| figures.p95)),
        ("p99", |period| period.row.total_time.map(|figures| figures.p99)),
    ];
    let rate: [Curve; 2] = [
        ("p50 of tasks", |period| period.row.tokens_per_sec.map(|figures: Figures| figures.p50)),
        ("mean", |period| period.row.mean_tokens_per_sec),
    ];
    let each = period(report.period_seconds);
    [
        (format!("Tasks per {each}"), &tasks[..], true),
        ("Wait in the queue, seconds".to_owned(), &wait, false),
        ("Time from submit to end, seconds".to_owned(), &total, false),
        ("Tokens per second of computing".to_owned(), &rate, false),
    ]
    .into_iter()
    .map(|(title, curves, is_count)| {
        plot(report, &title, curves, is_count).map_err(|error| RenderError::Plot(error.to_string()))
    })
    .collect()
}

fn plot(
    report: &Report,
    title: &str,
    curves: &[Curve],
    is_count: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&area, report, title, curves, is_count).map_err(|error| error.to_string())?;
        area.present()?;
    }
    Ok(svg)
}

fn paint(
    area: &Area<'_>,
    report: &Report,
    title: &str,
    curves: &[Curve],
    is_count: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let points: Vec<Vec<(f64, f64)>> =
        curves.iter().map(|(_, value)| points(report, *value, is_count)).collect();
    let highest = points.iter().flatten().map(|point| point.1).fold(0.01, f64::max);
    let first = report.periods.first().map_or(0, |period| period.start) as f64;
    let last = report.periods.last().map_or(0, |period| period.start) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 15))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(first..last, 0.0..highest * 1.05)?;
    let decimals = if highest < 10.0 { 2 } else { 0 };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|x| short(*x as i64))
        .y_label_formatter(&|y| match decimals {
            0 => thousands(y.round() as u64),
            _ => format!("{y:.2}"),
        })
        .draw()?;
    for (index, (points, (name, _))) in points.iter().zip(curves).enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let style = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        if points.len() <= MAX_DOTS {
            let dots = points.iter().map(|point| Circle::new(*point, 2, color.filled()));
            chart.draw_series(dots)?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 12))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// Returns a curve's points. Counts are zero in periods without tasks, so both ends of a gap get one.
fn points(report: &Report, value: fn(&Period) -> Option<f64>, is_count: bool) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<i64> = None;
    for period in &report.periods {
        let Some(value) = value(period) else { continue };
        let (start, width) = (period.start, report.period_seconds);
        if let Some(before) = before.filter(|before| is_count && start - before > width) {
            points.extend([((before + width) as f64, 0.0), ((start - width) as f64, 0.0)]);
        }
        before = Some(start);
        points.push((start as f64, value));
    }
    points
}
