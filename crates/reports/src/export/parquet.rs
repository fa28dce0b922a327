//! Apache Parquet, written column by column in row groups of bounded size.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use crate::line::{Line, Text};

use super::{ExportError, Rows};

/// A row group ends at this number of rows, or of bytes of text, whichever comes first. It bounds memory.
const GROUP_ROWS: usize = 100_000;
const GROUP_BYTES: usize = 16 << 20;

const SCHEMA: &str = "message task {
    required int64 time (TIMESTAMP(MILLIS, true));
    required binary task_id (UTF8);
    required binary status (UTF8);
    optional int64 prompt_tokens;
    optional int64 completion_tokens;
    optional int64 cached_tokens;
    optional double tokens_per_sec;
    optional double queue_wait;
    optional double processing_time;
    optional double total_time;
    optional binary model (UTF8);
    optional binary owner (UTF8);
    optional binary error_type (UTF8);
    optional binary error_message (UTF8);
}";

pub(super) struct Parquet {
    writer: SerializedFileWriter<Box<dyn Write + Send>>,
    group: Group,
}

/// The columns of the current row group, in the schema's order within each type.
#[derive(Default)]
struct Group {
    time: Vec<i64>,
    task_id: Vec<ByteArray>,
    status: Vec<ByteArray>,
    counts: [Column<i64>; 3],
    figures: [Column<f64>; 4],
    texts: [Column<ByteArray>; 4],
    /// The bytes of all texts.
    bytes: usize,
}

/// An optional column: the values, and for each row 1 if it has a value, else 0.
struct Column<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T> Column<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl Parquet {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::GZIP(GzipLevel::try_new(3)?))
            // All ids differ.
            .set_column_dictionary_enabled(ColumnPath::from("task_id"), false)
            .build();
        let writer = SerializedFileWriter::new(output, schema, Arc::new(properties))?;
        Ok(Self { writer, group: Group::default() })
    }

    fn end_group(&mut self) -> Result<(), ExportError> {
        let group = std::mem::take(&mut self.group);
        if group.time.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.next_row_group()?;
        write::<Int64Type>(&mut writer, &group.time, None)?;
        write::<ByteArrayType>(&mut writer, &group.task_id, None)?;
        write::<ByteArrayType>(&mut writer, &group.status, None)?;
        for Column { values, levels } in &group.counts {
            write::<Int64Type>(&mut writer, values, Some(levels))?;
        }
        for Column { values, levels } in &group.figures {
            write::<DoubleType>(&mut writer, values, Some(levels))?;
        }
        for Column { values, levels } in &group.texts {
            write::<ByteArrayType>(&mut writer, values, Some(levels))?;
        }
        writer.close()?;
        Ok(())
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Box<dyn Write + Send>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ExportError> {
    let mut column = group.next_column()?.expect("the schema has as many columns as are written");
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}

impl Rows for Parquet {
    fn write(&mut self, line: &Line<'_>) -> Result<(), ExportError> {
        let group = &mut self.group;
        // The parser takes no more than 18 digits.
        let count =
            |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let figure = |number: Option<u64>| number.map(|number| number as f64 / 100.0);
        let mut bytes = 0;
        let mut text = |text: Text<'_>| {
            let text = text.decode().into_owned();
            bytes += text.len();
            ByteArray::from(text.into_bytes())
        };
        group.time.push(line.at * 1_000);
        group.task_id.push(text(line.task_id));
        group.status.push(ByteArray::from(line.status.as_str()));
        let counts = [line.prompt_tokens, line.completion_tokens, line.cached_tokens];
        group.counts.iter_mut().zip(counts).for_each(|(column, number)| column.push(count(number)));
        let figures = [line.tokens_per_sec, line.queue_wait, line.processing_time, line.total_time];
        group
            .figures
            .iter_mut()
            .zip(figures)
            .for_each(|(column, number)| column.push(figure(number)));
        let texts = [line.model, line.owner, line.error_type, line.error_message];
        for (column, value) in group.texts.iter_mut().zip(texts) {
            column.push(value.map(&mut text));
        }
        group.bytes += bytes;
        if group.time.len() >= GROUP_ROWS || group.bytes >= GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        self.end_group()?;
        self.writer.finish()?;
        Ok(self.writer.inner_mut().flush()?)
    }
}
