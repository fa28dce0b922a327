//! Charts of a load: times over time, completed tasks over time, and times by percentile.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;

use super::super::chart::{self, Chart, Line};
use super::figures::{Figures, Time};

const SIZE: (u32, u32) = (1_260, 380);
/// Points of the chart by percentile. The axis is the number of nines, so that the tail is wide.
const POINTS: usize = 100;
const MOST_NINES: f64 = 3.0;

/// Draws the charts into an SVG file.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(figures: &Figures, file: &Path) -> Result<()> {
    let over_time = |name: &str, pick: fn(&(f64, f64)) -> f64| {
        let slices = figures.slices.iter();
        let points = slices.filter_map(|slice| Some((slice.at, pick(slice.total.as_ref()?))));
        Line { name: name.to_owned(), points: points.collect() }
    };
    let totals = [over_time("p50", |total| total.0), over_time("p95", |total| total.1)];
    let rate = figures.slices.iter().map(|slice| (slice.at, slice.per_second)).collect();
    let rates = [Line { name: "completed".to_owned(), points: rate }];
    let by_share = Time::ALL.map(|(name, time)| {
        let points = (0..=POINTS).filter_map(|at| {
            let nines = MOST_NINES * at as f64 / POINTS as f64;
            Some((nines, figures.percentile(time, 1.0 - 10_f64.powf(-nines))?))
        });
        Line { name: name.to_owned(), points: points.collect() }
    });
    let over_time = |title, lines| Chart {
        title,
        x_title: "seconds since the beginning",
        y_title: "",
        x_label: chart::number,
        x_labels: 8,
        lines,
        dots: false,
        names: SeriesLabelPosition::UpperLeft,
    };
    let charts = [
        over_time("total, in seconds", &totals),
        over_time("tasks per second", &rates),
        Chart {
            x_title: "percentile",
            x_label: percent,
            x_labels: 4, // one per nine
            ..over_time("seconds by percentile", &by_share)
        },
    ];
    chart::draw(file, SIZE, "", &charts)
}

fn percent(nines: f64) -> String {
    format!("{} %", chart::number(100.0 - 10_f64.powf(2.0 - nines)))
}
