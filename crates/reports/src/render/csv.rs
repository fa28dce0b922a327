//! One table: a row per period, model, owner and kind of error, and one for all tasks.

use csv::Writer;

use crate::clock::rfc3339;
use crate::report::{Figures, Report, Row};

use super::RenderError;
use super::escape;

const FIGURES: [&str; 4] = ["queue_wait", "processing_time", "total_time", "tokens_per_sec"];

pub(super) fn render(report: &Report) -> Result<String, RenderError> {
    let mut csv = Writer::from_writer(Vec::new());
    let counts = [
        "by",
        "name",
        "tasks",
        "success",
        "error",
        "cancelled",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "mean_tokens_per_sec",
    ];
    let figures = FIGURES.iter().flat_map(|name| {
        ["p50", "p90", "p95", "p99", "max", "mean"].map(|figure| format!("{name}_{figure}"))
    });
    csv.write_record(counts.iter().map(|name| (*name).to_owned()).chain(figures))?;
    csv.write_record(cells("all", "", &report.total))?;
    for period in &report.periods {
        csv.write_record(cells("period", &rfc3339(period.start), &period.row))?;
    }
    for (by, rows) in [("model", &report.models), ("owner", &report.owners)] {
        for named in rows {
            csv.write_record(cells(by, &named.name, &named.row))?;
        }
    }
    let errors = report.errors.iter().map(|error| ("error", error.kind.as_str(), error.tasks));
    for (by, name, number) in errors.chain([("malformed", "lines", report.malformed)]) {
        let (name, number) = (escape::csv(name), number.to_string());
        let empty = std::iter::repeat_n(String::new(), counts.len() - 3 + FIGURES.len() * 6);
        csv.write_record([by.to_owned(), name, number].into_iter().chain(empty))?;
    }
    let bytes = csv.into_inner().map_err(|error| ::csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cells(by: &str, name: &str, row: &Row) -> Vec<String> {
    let figures = [row.queue_wait, row.processing_time, row.total_time, row.tokens_per_sec];
    let mut cells = vec![by.to_owned(), escape::csv(name)];
    let counts = [
        row.tasks,
        row.success,
        row.error,
        row.cancelled,
        row.prompt_tokens,
        row.cached_tokens,
        row.completion_tokens,
    ];
    cells.extend(counts.map(|count| count.to_string()));
    cells.push(row.mean_tokens_per_sec.map(number).unwrap_or_default());
    cells.extend(figures.into_iter().flat_map(distribution));
    cells
}

fn distribution(figures: Option<Figures>) -> [String; 6] {
    figures.map(|f| [f.p50, f.p90, f.p95, f.p99, f.max, f.mean].map(number)).unwrap_or_default()
}

fn number(value: f64) -> String {
    format!("{value:.2}")
}
