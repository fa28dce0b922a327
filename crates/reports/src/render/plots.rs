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

/// A curve: its name, its color, and its value in a period, if it has one.
type Curve = (&'static str, RGBColor, fn(&Period) -> Option<f64>);

const GREEN: RGBColor = RGBColor(46, 139, 87);
const RED: RGBColor = RGBColor(200, 40, 40);
const GRAY: RGBColor = RGBColor(130, 130, 130);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 130, 20);
/// The width of the legend, which is to the right of the curves.
const LEGEND: u32 = 120;

/// Draws the plots of a report; none if it has less than two periods.
pub(super) fn draw(report: &Report) -> Result<Vec<String>, RenderError> {
    if report.periods.len() < 2 {
        return Ok(Vec::new());
    }
    let tasks: [Curve; 3] = [
        ("success", GREEN, |period| Some(period.row.success as f64)),
        ("error", RED, |period| Some(period.row.error as f64)),
        ("cancelled", GRAY, |period| Some(period.row.cancelled as f64)),
    ];
    let wait: [Curve; 3] = [
        ("p50", BLUE, |period| period.row.queue_wait.map(|figures: Figures| figures.p50)),
        ("p95", ORANGE, |period| period.row.queue_wait.map(|figures| figures.p95)),
        ("p99", RED, |period| period.row.queue_wait.map(|figures| figures.p99)),
    ];
    let total: [Curve; 3] = [
        ("p50", BLUE, |period| period.row.total_time.map(|figures: Figures| figures.p50)),
        ("p95", ORANGE, |period| period.row.total_time.map(|figures| figures.p95)),
        ("p99", RED, |period| period.row.total_time.map(|figures| figures.p99)),
    ];
    let rate: [Curve; 2] = [
        ("p50 of tasks", BLUE, |period| {
            period.row.tokens_per_sec.map(|figures: Figures| figures.p50)
        }),
        ("mean", ORANGE, |period| period.row.mean_tokens_per_sec),
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
        curves.iter().map(|(_, _, value)| points(report, *value, is_count)).collect();
    let highest = points.iter().flatten().map(|point| point.1).fold(0.01, f64::max);
    let origin = origin(report);
    let hour = |at: Option<&Period>| at.map_or(0.0, |period| hours(period.start - origin));
    let (first, last) = (hour(report.periods.first()), hour(report.periods.last()));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 15))
        .margin(10)
        .margin_right(LEGEND)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(first..last, 0.0..highest * 1.05)?;
    let decimals = if highest < 10.0 { 2 } else { 0 };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|x| short(origin + (x * 3_600.0).round() as i64))
        .y_label_formatter(&|y| match decimals {
            0 => thousands(y.round() as u64),
            _ => format!("{y:.2}"),
        })
        .draw()?;
    for (nth, (points, (name, color, _))) in points.iter().zip(curves).enumerate() {
        let style = color.stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        if points.len() <= MAX_DOTS {
            let dots = points.iter().map(|point| Circle::new(*point, 2, color.filled()));
            chart.draw_series(dots)?;
        }
        let (x, y) = ((SIZE.0 - LEGEND + 10) as i32, 45 + 18 * nth as i32);
        area.draw(&PathElement::new([(x, y), (x + 16, y)], style))?;
        area.draw(&Text::new(*name, (x + 22, y - 7), (FONT, 12)))?;
    }
    Ok(())
}

/// Returns the midnight before the first period. Hours since then are the x-axis, so that its labels are round.
fn origin(report: &Report) -> i64 {
    let first = report.periods.first().map_or(0, |period| period.start);
    first - first.rem_euclid(86_400)
}

fn hours(seconds: i64) -> f64 {
    seconds as f64 / 3_600.0
}

/// Returns a curve's points. Counts are zero in periods without tasks, so both ends of a gap get one.
fn points(report: &Report, value: fn(&Period) -> Option<f64>, is_count: bool) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<i64> = None;
    let x = |at: i64| hours(at - origin(report));
    for period in &report.periods {
        let Some(value) = value(period) else { continue };
        let (start, width) = (period.start, report.period_seconds);
        if let Some(before) = before.filter(|before| is_count && start - before > width) {
            points.extend([(x(before + width), 0.0), (x(start - width), 0.0)]);
        }
        before = Some(start);
        points.push((x(start), value));
    }
    points
}
