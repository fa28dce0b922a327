//! `logs report` and `logs export`: what the crate `reports` does, for files of any size.

mod progress;
mod target;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use reports::{ExportFormat, Filter, Format, Input, Options, Problem, Report};
use service::Settings;
use time::PrimitiveDateTime;

use super::pick;
use crate::output::{Output, OutputError};
use crate::text::{count, printable};
use progress::Progress;
use target::{Target, unwritable};

/// Examples below the help of `logs report`.
const REPORT_EXAMPLES: &str = "Examples:
  qwen-queue logs report --since 1d
  qwen-queue logs report --format html --output report.html /backup/logs
  ssh host cat logs/llm_requests.log | qwen-queue logs report -";
/// Examples below the help of `logs export`.
const EXPORT_EXAMPLES: &str = "Examples:
  qwen-queue logs export --format parquet --output tasks.parquet
  qwen-queue logs export --format ndjson --since 1h | jq .total_time";

#[derive(Debug, Subcommand)]
pub(super) enum Analysis {
    /// Report on all of llm_requests.log: percentiles of waiting, processing, total and tokens/s; by hour, model and
    /// owner; errors by kind. For logs of any size, rotated and compressed.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Export llm_requests.log as a table: a row per ended task.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
}

/// Which lines are read.
#[derive(Debug, Args)]
struct Selection {
    /// Files (plain, gzip or Zstandard), folders with the log, or - for standard input [default: LOG_DIR].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder with the logs [default: LOG_DIR, found as the services find it].
    #[arg(long, value_name = "FOLDER", conflicts_with = "files")]
    dir: Option<PathBuf>,
    /// Only tasks that ended since then: 90s, 15m, 1h, 2d ago, or a time in UTC such as "2025-11-21 15:30".
    #[arg(long, value_name = "TIME", value_parser = pick::since)]
    since: Option<PrimitiveDateTime>,
    /// Only tasks that ended before then.
    #[arg(long, value_name = "TIME", value_parser = pick::since)]
    until: Option<PrimitiveDateTime>,
    /// Only tasks of this model.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only tasks of this owner of API keys.
    #[arg(long, visible_alias = "key", value_name = "OWNER")]
    owner: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    selection: Selection,
    /// The format of the report.
    #[arg(long, value_enum, default_value_t = ReportFormat::Terminal)]
    format: ReportFormat,
    /// Write the report to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The number of models, owners and kinds of errors with rows of their own; the others share one.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    top: usize,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    selection: Selection,
    /// The format of the table.
    #[arg(long, value_enum, default_value_t = TableFormat::Csv)]
    format: TableFormat,
    /// Write the table to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportFormat {
    /// Aligned columns of text.
    Terminal,
    /// GitHub's Markdown.
    Markdown,
    /// One page with plots, without scripts.
    Html,
    /// One table with a row per hour, model, owner and kind of error.
    Csv,
    /// One JSON object.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableFormat {
    /// Comma-separated values.
    Csv,
    /// A JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// Runs the command.
pub(super) fn run(
    analysis: &Analysis,
    config: Option<&Path>,
    output: &mut Output<impl Write, impl Write>,
) -> Result<()> {
    match analysis {
        Analysis::Report(args) => report(args, config, output),
        Analysis::Export(args) => export(args, config, output),
    }
}

fn report(
    args: &ReportArgs,
    config: Option<&Path>,
    output: &mut Output<impl Write, impl Write>,
) -> Result<()> {
    let inputs = args.selection.inputs(config)?;
    refuse_input_as_output(&inputs, args.output.as_deref())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options { filter: args.selection.filter(), top: args.top, threads };
    let progress = Progress::new(&inputs);
    let report = Report::read(&inputs, &options, &|read| progress.show(read));
    progress.clear();
    let text = report.render(match args.format {
        ReportFormat::Terminal => Format::Terminal,
        ReportFormat::Markdown => Format::Markdown,
        ReportFormat::Html => Format::Html,
        ReportFormat::Csv => Format::Csv,
        ReportFormat::Json => Format::Json,
    })?;
    match &args.output {
        None => output.print(&text)?,
        Some(path) => {
            let target = Target::create(path)?;
            target.file()?.write_all(text.as_bytes()).with_context(|| unwritable(path))?;
            target.keep()?;
        }
    }
    check(report.lines, report.malformed, &report.problems)
}

fn export(
    args: &ExportArgs,
    config: Option<&Path>,
    output: &mut Output<impl Write, impl Write>,
) -> Result<()> {
    let inputs = args.selection.inputs(config)?;
    refuse_input_as_output(&inputs, args.output.as_deref())?;
    let format = match args.format {
        TableFormat::Csv => ExportFormat::Csv,
        TableFormat::Ndjson => ExportFormat::Ndjson,
        TableFormat::Parquet => ExportFormat::Parquet,
    };
    if format == ExportFormat::Parquet && args.output.is_none() && io::stdout().is_terminal() {
        bail!("a Parquet file is not for terminals: name a file with --output, or use a pipe");
    }
    let (progress, filter) = (Progress::new(&inputs), args.selection.filter());
    let show = |read| progress.show(read);
    let exported = match &args.output {
        None => reports::export(&inputs, &filter, format, io::stdout(), &show).map_err(|error| {
            match error.io().map(io::Error::kind) {
                Some(io::ErrorKind::BrokenPipe) => OutputError::Closed.into(),
                _ => anyhow::Error::new(error),
            }
        }),
        Some(path) => Target::create(path).and_then(|target| {
            let exported = reports::export(&inputs, &filter, format, target.file()?, &show);
            let exported = exported.with_context(|| unwritable(path))?;
            target.keep()?;
            Ok(exported)
        }),
    };
    progress.clear();
    let exported = exported?;
    if let Some((file, line, why)) = &exported.first_malformed {
        let lines = count(exported.malformed, "malformed line");
        let file = printable(file);
        output.note(&format!("qwen-queue: left out {lines}, first line {line} of {file}: {why}"));
    }
    check(exported.lines, exported.malformed, &exported.problems)
}

/// Fails if files could not be read, or have another format: after the output, since the rest of it is right.
fn check(lines: u64, malformed: u64, problems: &[Problem]) -> Result<()> {
    if let Some(Problem { file, error }) = problems.first() {
        let others = match problems.len() - 1 {
            0 => String::new(),
            others => format!(" (and {} more)", count(others as u64, "file")),
        };
        let file = printable(file);
        bail!("{file} could not be read to its end: {error}{others}");
    }
    if lines > 0 && malformed == lines {
        let lines = count(lines, "line");
        bail!("none of {lines} has the format of llm_requests.log: name files of that log");
    }
    Ok(())
}

impl Selection {
    fn inputs(&self, config: Option<&Path>) -> Result<Vec<Input>> {
        let paths = match &self.dir {
            _ if !self.files.is_empty() => self.files.clone(),
            Some(dir) => vec![dir.clone()],
            None => vec![Settings::load(config)?.log_dir],
        };
        Ok(Input::find(&paths)?)
    }

    fn filter(&self) -> Filter {
        let seconds = |at: PrimitiveDateTime| at.assume_utc().unix_timestamp();
        Filter {
            since: self.since.map(seconds),
            until: self.until.map(seconds),
            model: self.model.clone(),
            owner: self.owner.clone(),
        }
    }
}

fn refuse_input_as_output(inputs: &[Input], output: Option<&Path>) -> Result<()> {
    match output {
        Some(path) if inputs.iter().any(|input| input.is_file(path)) => {
            bail!("{} is one of the files to read: name another file with --output", path.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
