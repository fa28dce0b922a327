//! Exports the log as a table: a row per ended task, in the order of the log.

mod ndjson;
mod parquet;
mod table;

use std::io::{self, Write};
use std::ops::ControlFlow;

use crate::clock::Clock;
use crate::filter::Filter;
use crate::inputs::Input;
use crate::line::{self, Line};
use crate::report::Problem;
use crate::scan::{OnProgress, Place, Sink, scan};

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values, as RFC 4180 describes them, with a heading. Text that spreadsheets would take for a
    /// formula is prefixed with an apostrophe.
    Csv,
    /// A JSON object per line.
    Ndjson,
    /// Apache Parquet, compressed.
    Parquet,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// All lines that were read.
    pub lines: u64,
    /// The rows that were written.
    pub rows: u64,
    /// Lines that don't have the log's format.
    pub malformed: u64,
    /// The first of them: its file, its number and what is wrong.
    pub first_malformed: Option<(String, u64, String)>,
    /// Inputs that could not be read to their ends.
    pub problems: Vec<Problem>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output can't be written.
    #[error("the output can't be written")]
    Write(#[from] io::Error),
    /// The Parquet file can't be written.
    #[error("the Parquet file can't be written")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

impl From<::csv::Error> for ExportError {
    fn from(error: ::csv::Error) -> Self {
        match error.into_kind() {
            ::csv::ErrorKind::Io(error) => Self::Write(error),
            other => Self::Write(io::Error::other(format!("{other:?}"))),
        }
    }
}

impl ExportError {
    /// Returns the error of the output, if it is the cause.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Write(error) => Some(error),
            Self::Parquet(::parquet::errors::ParquetError::External(error)) => error.downcast_ref(),
            Self::Parquet(_) => None,
        }
    }
}

/// Writes rows in one format.
trait Rows: Send {
    fn write(&mut self, line: &Line<'_>) -> Result<(), ExportError>;

    /// Writes what is buffered, and the end of the file.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Writes all lines that pass the filter to `output`, in bounded memory for inputs of any size.
///
/// # Errors
/// If the output can't be written. Inputs that can't be read are listed in the result instead.
pub fn export(
    inputs: &[Input],
    filter: &Filter,
    format: ExportFormat,
    output: impl Write + Send + 'static,
    progress: OnProgress<'_>,
) -> Result<Exported, ExportError> {
    let inputs: Vec<Input> =
        inputs.iter().filter(|input| input.may_have(filter.since, filter.until)).cloned().collect();
    let output = Box::new(output);
    let rows: Box<dyn Rows> = match format {
        ExportFormat::Csv => Box::new(table::Table::new(output)?),
        ExportFormat::Ndjson => Box::new(ndjson::Ndjson::new(output)),
        ExportFormat::Parquet => Box::new(parquet::Parquet::new(output)?),
    };
    let exporter = Exporter {
        inputs: &inputs,
        filter,
        clock: Clock::default(),
        rows,
        exported: Exported::default(),
        failed: None,
    };
    let (exporters, problems) = scan(&inputs, vec![exporter], progress);
    let Exporter { rows, exported, failed, .. } =
        exporters.into_iter().next().expect("scan returns the sinks it got");
    match failed {
        Some(error) => return Err(error),
        None => rows.finish()?,
    }
    let problem = |problem: crate::scan::Problem| Problem {
        file: inputs[problem.input].name(),
        error: problem.error,
    };
    Ok(Exported { problems: problems.into_iter().map(problem).collect(), ..exported })
}

struct Exporter<'a> {
    inputs: &'a [Input],
    filter: &'a Filter,
    clock: Clock,
    rows: Box<dyn Rows>,
    exported: Exported,
    failed: Option<ExportError>,
}

impl Sink for Exporter<'_> {
    fn take(&mut self, place: Place, line: &[u8], is_too_long: bool) -> ControlFlow<()> {
        self.exported.lines += 1;
        let parsed = match is_too_long {
            false => line::parse(line, &mut self.clock),
            true => Err(line::Malformed::TooLong),
        };
        match parsed {
            Ok(line) if self.filter.takes(&line) => match self.rows.write(&line) {
                Ok(()) => self.exported.rows += 1,
                Err(error) => {
                    self.failed = Some(error);
                    return ControlFlow::Break(());
                }
            },
            Ok(_) => {}
            Err(why) => {
                self.exported.malformed += 1;
                let name = || self.inputs[place.input].name();
                self.exported
                    .first_malformed
                    .get_or_insert_with(|| (name(), place.line, why.to_string()));
            }
        }
        ControlFlow::Continue(())
    }
}

/// A number of hundredths, which formats as a decimal: 230 as `2.30`.
struct Hundredths(u64);

impl std::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
