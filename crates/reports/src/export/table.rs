//! CSV.

use std::io::Write;

use csv::Writer;

use crate::clock::rfc3339;
use crate::line::{Line, Text};
use crate::render::escape;

use super::{ExportError, Hundredths, Rows};

const COLUMNS: [&str; 14] = [
    "time",
    "task_id",
    "status",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "tokens_per_sec",
    "queue_wait",
    "processing_time",
    "total_time",
    "model",
    "owner",
    "error_type",
    "error_message",
];

pub(super) struct Table {
    csv: Writer<Box<dyn Write + Send>>,
}

impl Table {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Result<Self, ExportError> {
        let mut csv = Writer::from_writer(output);
        csv.write_record(COLUMNS)?;
        Ok(Self { csv })
    }
}

impl Rows for Table {
    fn write(&mut self, line: &Line<'_>) -> Result<(), ExportError> {
        let whole =
            |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let decimal = |number: Option<u64>| {
            number.map(|number| Hundredths(number).to_string()).unwrap_or_default()
        };
        let text = |text: Option<Text<'_>>| {
            text.map(|text| escape::csv(&text.decode())).unwrap_or_default()
        };
        let cells: [String; COLUMNS.len()] = [
            rfc3339(line.at),
            text(Some(line.task_id)),
            line.status.as_str().to_owned(),
            whole(line.prompt_tokens),
            whole(line.completion_tokens),
            whole(line.cached_tokens),
            decimal(line.tokens_per_sec),
            decimal(line.queue_wait),
            decimal(line.processing_time),
            decimal(line.total_time),
            text(line.model),
            text(line.owner),
            text(line.error_type),
            text(line.error_message),
        ];
        Ok(self.csv.write_record(cells)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.csv.flush()?)
    }
}
