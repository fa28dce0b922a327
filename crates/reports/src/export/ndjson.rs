//! A JSON object per line, with the fields that the log's line has.

use std::borrow::Cow;
use std::io::{BufWriter, Write};

use serde::{Serialize, Serializer};

use crate::clock::rfc3339;
use crate::line::Line;

use super::{ExportError, Hundredths, Rows};

pub(super) struct Ndjson {
    output: BufWriter<Box<dyn Write + Send>>,
}

impl Ndjson {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output: BufWriter::new(output) }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    time: String,
    task_id: Cow<'a, str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_sec: Option<Hundredths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_wait: Option<Hundredths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_time: Option<Hundredths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_time: Option<Hundredths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Cow<'a, str>>,
}

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 100.0)
    }
}

impl Rows for Ndjson {
    fn write(&mut self, line: &Line<'_>) -> Result<(), ExportError> {
        let object = Object {
            time: rfc3339(line.at),
            task_id: line.task_id.decode(),
            status: line.status.as_str(),
            prompt_tokens: line.prompt_tokens,
            completion_tokens: line.completion_tokens,
            cached_tokens: line.cached_tokens,
            tokens_per_sec: line.tokens_per_sec.map(Hundredths),
            queue_wait: line.queue_wait.map(Hundredths),
            processing_time: line.processing_time.map(Hundredths),
            total_time: line.total_time.map(Hundredths),
            model: line.model.map(|text| text.decode()),
            owner: line.owner.map(|text| text.decode()),
            error_type: line.error_type.map(|text| text.decode()),
            error_message: line.error_message.map(|text| text.decode()),
        };
        serde_json::to_writer(&mut self.output, &object).map_err(std::io::Error::from)?;
        Ok(self.output.write_all(b"\n")?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.output.flush()?)
    }
}
