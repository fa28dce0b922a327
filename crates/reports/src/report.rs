//! A finished report: what the renderers show.

use hdrhistogram::Counter;
use serde::{Serialize, Serializer};

use crate::clock::rfc3339;
use crate::figures::{Group, Spread};
use crate::filter::Filter;
use crate::inputs::Input;
use crate::names::Named;
use crate::scan::{OnProgress, scan};
use crate::tally::{Sample, Tally};

/// What to report on, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which lines count.
    pub filter: Filter,
    /// The number of models, owners and kinds of errors with rows of their own; the others share a row.
    pub top: usize,
    /// The number of threads; at least 1.
    pub threads: usize,
}

/// A report on a log of ended tasks.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The number of inputs that were read.
    pub inputs: usize,
    /// Inputs that could not be read to their ends. The lines before are in the report.
    pub problems: Vec<Problem>,
    /// All lines of all inputs.
    pub lines: u64,
    /// Lines that the filter left out.
    pub filtered_out: u64,
    /// Lines that don't have the log's format.
    pub malformed: u64,
    /// The first malformed lines.
    pub malformed_lines: Vec<MalformedLine>,
    /// The time of the first end, in seconds since 1970.
    #[serde(serialize_with = "some_time")]
    pub from: Option<i64>,
    /// The time of the last end.
    #[serde(serialize_with = "some_time")]
    pub to: Option<i64>,
    /// All tasks.
    pub total: Row,
    /// The length of the periods: an hour, or more if there are many hours.
    pub period_seconds: i64,
    /// The tasks by the period in which they ended, in order of time. Periods without tasks have no row.
    pub periods: Vec<Period>,
    /// The tasks by model, most tasks first. Empty if no line names a model.
    pub models: Vec<NamedRow>,
    /// The tasks by owner of the API key, most tasks first. Empty if no line names one.
    pub owners: Vec<NamedRow>,
    /// The failed tasks by kind of error, the most frequent first.
    pub errors: Vec<ErrorCount>,
}

/// An input that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The error.
    pub error: String,
}

/// A line that doesn't have the log's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MalformedLine {
    /// The file.
    pub file: String,
    /// The line's number, from 1; in compressed files of the decompressed text.
    pub line: u64,
    /// What is wrong.
    pub why: String,
    /// The beginning of the line. Untrusted: may have control characters.
    pub text: String,
}

/// The tasks of a period.
#[derive(Debug, Clone, Serialize)]
pub struct Period {
    /// Its start, in seconds since 1970.
    #[serde(serialize_with = "time")]
    pub start: i64,
    /// Its tasks.
    #[serde(flatten)]
    pub row: Row,
}

/// The tasks of a model or owner.
#[derive(Debug, Clone, Serialize)]
pub struct NamedRow {
    /// Its name. Untrusted: may have control characters.
    pub name: String,
    /// Its tasks.
    #[serde(flatten)]
    pub row: Row,
}

/// The number of tasks that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// The kind. Untrusted: may have control characters.
    pub kind: String,
    /// The number of tasks.
    pub tasks: u64,
}

/// Figures of a group of tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The number of tasks.
    pub tasks: u64,
    /// Those with an answer.
    pub success: u64,
    /// Those that failed.
    pub error: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
    /// The sum of their prompts' tokens.
    pub prompt_tokens: u64,
    /// Those of them that the prefix cache had.
    pub cached_tokens: u64,
    /// The sum of their generated tokens.
    pub completion_tokens: u64,
    /// Generated tokens per second of computing, over all successful tasks.
    pub mean_tokens_per_sec: Option<f64>,
    /// Seconds in the queue.
    pub queue_wait: Option<Figures>,
    /// Seconds of computing.
    pub processing_time: Option<Figures>,
    /// Seconds from submit to end.
    pub total_time: Option<Figures>,
    /// Generated tokens per second of each task.
    pub tokens_per_sec: Option<Figures>,
}

/// The distribution of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum, exact.
    pub max: f64,
    /// The mean, exact.
    pub mean: f64,
}

impl Report {
    /// Reads the inputs and reports on them, in bounded memory for inputs of any size.
    pub fn read(inputs: &[Input], options: &Options, progress: OnProgress<'_>) -> Self {
        let filter = &options.filter;
        let inputs: Vec<Input> = inputs
            .iter()
            .filter(|input| input.may_have(filter.since, filter.until))
            .cloned()
            .collect();
        let tallies = Tally::for_threads(options.threads.max(1), filter);
        let (tallies, problems) = scan(&inputs, tallies, progress);
        let tally =
            tallies.into_iter().reduce(Tally::merge).expect("there is a tally for each thread");
        let problem = |problem: crate::scan::Problem| Problem {
            file: inputs[problem.input].name(),
            error: problem.error,
        };
        Self {
            inputs: inputs.len(),
            problems: problems.into_iter().map(problem).collect(),
            lines: tally.lines,
            filtered_out: tally.filtered_out,
            malformed: tally.malformed,
            malformed_lines: tally
                .samples
                .iter()
                .map(|sample| malformed(sample, &inputs))
                .collect(),
            from: tally.span.map(|(first, _)| first),
            to: tally.span.map(|(_, last)| last),
            total: Row::new(&tally.total),
            period_seconds: tally.periods.seconds(),
            periods: tally
                .periods
                .into_rows()
                .map(|(start, group)| Period { start, row: Row::new(&group) })
                .collect(),
            models: top(tally.models.into_named(), options.top),
            owners: top(tally.owners.into_named(), options.top),
            errors: top_errors(tally.kinds.into_named(), options.top),
        }
    }

    /// Returns whether there were lines, and all of them were malformed: then these are no files of this log.
    pub fn is_all_malformed(&self) -> bool {
        self.lines > 0 && self.malformed == self.lines
    }
}

impl Row {
    fn new<C: Counter>(group: &Group<C>) -> Self {
        // Both are in hundredths.
        let rate = group.completion_tokens as f64 * 100.0 / group.computing as f64;
        Self {
            tasks: group.tasks(),
            success: group.success,
            error: group.error,
            cancelled: group.cancelled,
            prompt_tokens: group.prompt_tokens,
            cached_tokens: group.cached_tokens,
            completion_tokens: group.completion_tokens,
            mean_tokens_per_sec: (group.computing > 0).then_some(rate),
            queue_wait: Figures::new(&group.queue_wait),
            processing_time: Figures::new(&group.processing_time),
            total_time: Figures::new(&group.total_time),
            tokens_per_sec: Figures::new(&group.tokens_per_sec),
        }
    }
}

impl Figures {
    fn new<C: Counter>(spread: &Spread<C>) -> Option<Self> {
        if spread.count() == 0 {
            return None;
        }
        let percentile = |share| spread.percentile(share) as f64 / 100.0;
        Some(Self {
            p50: percentile(0.5),
            p90: percentile(0.9),
            p95: percentile(0.95),
            p99: percentile(0.99),
            max: spread.max() as f64 / 100.0,
            mean: spread.sum() as f64 / spread.count() as f64 / 100.0,
        })
    }
}

fn malformed(sample: &Sample, inputs: &[Input]) -> MalformedLine {
    let mut text = String::from_utf8_lossy(&sample.text).into_owned();
    if sample.is_cut {
        text.push('…');
    }
    MalformedLine {
        file: inputs[sample.place.input].name(),
        line: sample.place.line,
        why: sample.why.to_string(),
        text,
    }
}

/// Returns the largest groups, and one of all others.
fn top(named: Named<Box<Group<u32>>>, top: usize) -> Vec<NamedRow> {
    let Named { mut values, mut others } = named;
    values.sort_by(|(a, x), (b, y)| y.tasks().cmp(&x.tasks()).then_with(|| a.cmp(b)));
    for (_, group) in values.drain(values.len().min(top)..) {
        match &mut others {
            Some(others) => others.merge(&group),
            None => others = Some(group),
        }
    }
    let others = others.map(|group| ("(others)".to_owned(), group));
    let row = |(name, group): (String, Box<Group<u32>>)| NamedRow { name, row: Row::new(&group) };
    values.into_iter().chain(others).map(row).collect()
}

fn top_errors(named: Named<u64>, top: usize) -> Vec<ErrorCount> {
    let Named { mut values, others } = named;
    values.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    let rest = values.drain(values.len().min(top)..).map(|(_, tasks)| tasks).sum::<u64>();
    let others = match rest + others.unwrap_or(0) {
        0 => None,
        tasks => Some(("(others)".to_owned(), tasks)),
    };
    values.into_iter().chain(others).map(|(kind, tasks)| ErrorCount { kind, tasks }).collect()
}

fn time<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

fn some_time<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}
