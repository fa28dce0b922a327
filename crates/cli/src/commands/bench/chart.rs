//! Charts of lines, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

const FONT: &str = "sans-serif";

/// A part of an SVG file.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line with its name.
pub(super) struct Line {
    pub(super) name: String,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart with both axes from zero.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x_title: &'a str,
    pub(super) y_title: &'a str,
    /// Formats a label of the horizontal axis.
    pub(super) x_label: fn(f64) -> String,
    /// About how many labels it has.
    pub(super) x_labels: usize,
    pub(super) lines: &'a [Line],
    /// Whether each point is marked.
    pub(super) dots: bool,
    /// Where the names of the lines are.
    pub(super) names: SeriesLabelPosition,
}

/// Draws charts side by side into an SVG file, under a title if it is not empty.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(file: &Path, size: (u32, u32), title: &str, charts: &[Chart<'_>]) -> Result<()> {
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE).map_err(broken)?;
    let below = if title.is_empty() {
        area.clone()
    } else {
        area.titled(title, (FONT, 15)).map_err(broken)?
    };
    for (chart, part) in charts.iter().zip(below.split_evenly((1, charts.len().max(1)))) {
        chart.draw(&part)?;
    }
    area.present().map_err(broken)
}

/// Formats a number without the digits that come from rounding.
pub(super) fn number(number: f64) -> String {
    ((1e6 * number).round() / 1e6).to_string()
}

impl Chart<'_> {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if points().next().is_none() {
            return Ok(());
        }
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let (x, y) = (0.0..most(|point| point.0), 0.0..most(|point| point.1));
        // Room for dots at the edge, and for names.
        let x = if self.dots { 0.0..1.1 * x.end } else { x };
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 14))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(x, 0.0..1.1 * y.end)
            .map_err(broken)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(self.x_title)
            .y_desc(self.y_title)
            .x_labels(self.x_labels)
            .x_label_formatter(&|x| (self.x_label)(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()
            .map_err(broken)?;
        for (index, line) in self.lines.iter().enumerate() {
            let color = Palette99::pick(index).to_rgba();
            let style = color.stroke_width(2);
            if self.dots {
                let dots = line.points.iter().map(|point| Circle::new(*point, 3, color.filled()));
                chart.draw_series(dots).map_err(broken)?;
            }
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))
                .map_err(broken)?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(self.names.clone())
            .label_font((FONT, 12))
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(broken)
    }
}

fn broken(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot can't be drawn: {error}")
}
