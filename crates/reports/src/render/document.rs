//! What all formats for people show, in the same order: facts, and tables.

use crate::clock::{minute, plain};
use crate::report::{Figures, MalformedLine, NamedRow, Report, Row};

use super::format::{count, period, share, span, thousands};

/// A report as text. Nothing in it is escaped yet.
pub(super) struct Document {
    pub(super) facts: Vec<String>,
    pub(super) tables: Vec<Table>,
}

pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct Column {
    pub(super) heading: &'static str,
    /// A number, which is aligned to the right.
    pub(super) is_number: bool,
}

impl Document {
    pub(super) fn new(report: &Report) -> Self {
        let mut tables = Vec::new();
        if report.total.tasks > 0 {
            tables.push(figures(&report.total));
            let rows = report.periods.iter().map(|period| (minute(period.start), &period.row));
            tables.push(groups(format!("By {}", period(report.period_seconds)), "UTC", rows));
            for (name, rows) in [("model", &report.models), ("owner", &report.owners)] {
                if !rows.is_empty() {
                    let named = rows.iter().map(|NamedRow { name, row }| (name.clone(), row));
                    tables.push(groups(format!("By {name}"), name, named));
                }
            }
        }
        tables.extend((!report.errors.is_empty()).then(|| errors(report)));
        tables.extend((report.malformed > 0).then(|| malformed(report)));
        tables.extend((!report.problems.is_empty()).then(|| problems(report)));
        Self { facts: facts(report), tables }
    }
}

fn facts(report: &Report) -> Vec<String> {
    let total = &report.total;
    let mut facts = match (report.from, report.to) {
        (Some(from), Some(to)) => vec![
            format!(
                "{} ended from {} to {} UTC",
                count(total.tasks, "task"),
                plain(from),
                plain(to)
            ),
            format!(
                "{} success ({}), {} error, {} cancelled",
                thousands(total.success),
                share(total.success, total.tasks),
                thousands(total.error),
                thousands(total.cancelled)
            ),
            format!(
                "{} prompt ({} cached) + {} completion tokens",
                thousands(total.prompt_tokens),
                thousands(total.cached_tokens),
                thousands(total.completion_tokens)
            ),
        ],
        _ if report.filtered_out > 0 => vec!["no ended task passes the filters".to_owned()],
        _ => vec!["no ended task".to_owned()],
    };
    let mut read =
        format!("read {} of {}", count(report.lines, "line"), count(report.inputs as u64, "file"));
    if report.filtered_out > 0 {
        read += &format!("; {} left out by the filters", thousands(report.filtered_out));
    }
    if report.malformed > 0 {
        let of_all = share(report.malformed, report.lines);
        read += &format!("; {} malformed ({of_all})", thousands(report.malformed));
    }
    facts.push(read);
    facts
}

fn left(heading: &'static str) -> Column {
    Column { heading, is_number: false }
}

fn right(headings: &[&'static str]) -> impl Iterator<Item = Column> {
    headings.iter().map(|heading| Column { heading, is_number: true })
}

fn figures(total: &Row) -> Table {
    let row = |name: &str, figures: Option<Figures>, show: fn(f64) -> String| {
        let cells = figures.map(|f| [f.p50, f.p90, f.p95, f.p99, f.max, f.mean].map(show).to_vec());
        let cells = cells.unwrap_or_else(|| vec![dash(); 6]);
        [name.to_owned()].into_iter().chain(cells).collect()
    };
    Table {
        title: "All tasks".to_owned(),
        columns: [left("")]
            .into_iter()
            .chain(right(&["p50", "p90", "p95", "p99", "max", "mean"]))
            .collect(),
        rows: vec![
            row("queue wait", total.queue_wait, span),
            row("processing", total.processing_time, span),
            row("total", total.total_time, span),
            row("tokens/s", total.tokens_per_sec, rate),
        ],
    }
}

fn groups<'a>(
    title: String,
    name: &'static str,
    rows: impl Iterator<Item = (String, &'a Row)>,
) -> Table {
    // No more than fit into a wide terminal; CSV and JSON have all figures.
    let headings = [
        "tasks",
        "error",
        "cancelled",
        "tokens",
        "wait p50",
        "p95",
        "proc. p50",
        "p95",
        "total p50",
        "p95",
        "p99",
        "tok/s p50",
    ];
    let row = |(name, row): (String, &Row)| {
        let counts = [row.tasks, row.error, row.cancelled, row.completion_tokens].map(thousands);
        let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(dash, show);
        let (wait, processing, total) = (row.queue_wait, row.processing_time, row.total_time);
        let spans = [
            wait.map(|figures| figures.p50),
            wait.map(|figures| figures.p95),
            processing.map(|figures| figures.p50),
            processing.map(|figures| figures.p95),
            total.map(|figures| figures.p50),
            total.map(|figures| figures.p95),
            total.map(|figures| figures.p99),
        ];
        let spans = spans.map(|value| shown(value, span));
        let tokens_per_sec = shown(row.tokens_per_sec.map(|figures| figures.p50), rate);
        [name].into_iter().chain(counts).chain(spans).chain([tokens_per_sec]).collect()
    };
    Table {
        title,
        columns: [left(name)].into_iter().chain(right(&headings)).collect(),
        rows: rows.map(row).collect(),
    }
}

fn errors(report: &Report) -> Table {
    let row = |error: &crate::report::ErrorCount| {
        vec![error.kind.clone(), thousands(error.tasks), share(error.tasks, report.total.error)]
    };
    Table {
        title: "Errors by kind".to_owned(),
        columns: [left("kind")].into_iter().chain(right(&["tasks", "share"])).collect(),
        rows: report.errors.iter().map(row).collect(),
    }
}

fn malformed(report: &Report) -> Table {
    let row = |line: &MalformedLine| {
        vec![line.file.clone(), line.line.to_string(), line.why.clone(), line.text.clone()]
    };
    let shown = report.malformed_lines.len() as u64;
    let title = match report.malformed - shown {
        0 => "Malformed lines".to_owned(),
        _ => format!("Malformed lines (the first {shown} of {})", thousands(report.malformed)),
    };
    let line = Column { heading: "line", is_number: true };
    Table {
        title,
        columns: vec![left("file"), line, left("why"), left("text")],
        rows: report.malformed_lines.iter().map(row).collect(),
    }
}

fn problems(report: &Report) -> Table {
    let row = |problem: &crate::report::Problem| vec![problem.file.clone(), problem.error.clone()];
    Table {
        title: "Files that could not be read to their ends".to_owned(),
        columns: vec![left("file"), left("why")],
        rows: report.problems.iter().map(row).collect(),
    }
}

fn rate(value: f64) -> String {
    format!("{value:.1}")
}

fn dash() -> String {
    "-".to_owned()
}
