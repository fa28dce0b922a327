//! Parses lines of `llm_requests.log` without copying them.
//!
//! A line is `[time] name=value name="quoted value" …`: `docs/OPERATING.md` describes it. Fields that this version
//! does not know are skipped, since later versions may append some. If a name occurs twice, the first counts.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};
use serde::de::IgnoredAny;

use crate::clock::Clock;

mod malformed;
mod numbers;
mod usual;

pub(crate) use malformed::Malformed;
use numbers::{hundredths, span, whole};

/// The maximum length of a line in bytes. Longer ones count as malformed.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It has an answer.
    Success,
    /// It failed.
    Error,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Returns the name that the log has.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A parsed line. Times and rates are in hundredths, as the log writes them: `2.30s` is 230.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The time at which the line was written, in seconds since 1970.
    pub(crate) at: i64,
    /// The task's id.
    pub(crate) task_id: Text<'a>,
    /// How the task ended.
    pub(crate) status: Status,
    /// The number of tokens of the prompt.
    pub(crate) prompt_tokens: Option<u64>,
    /// The number of generated tokens.
    pub(crate) completion_tokens: Option<u64>,
    /// The number of tokens of the prompt that the prefix cache had.
    pub(crate) cached_tokens: Option<u64>,
    /// Generated tokens per second, in hundredths.
    pub(crate) tokens_per_sec: Option<u64>,
    /// The time in the queue, in hundredths of a second.
    pub(crate) queue_wait: Option<u64>,
    /// The time of computing, in hundredths of a second.
    pub(crate) processing_time: Option<u64>,
    /// The time from submit to end, in hundredths of a second.
    pub(crate) total_time: Option<u64>,
    /// The model, if the line names it.
    pub(crate) model: Option<Text<'a>>,
    /// The owner of the API key, if the line names it.
    pub(crate) owner: Option<Text<'a>>,
    /// Whether the answer came from the result cache.
    pub(crate) is_cached: bool,
    /// The kind of the error, if the line names it.
    pub(crate) error_type: Option<Text<'a>>,
    /// The message of the error.
    pub(crate) error_message: Option<Text<'a>>,
}

/// A text value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    /// The value as written, without its quotes.
    raw: &'a [u8],
    /// Whether `raw` has JSON's escapes.
    is_escaped: bool,
}

impl<'a> Text<'a> {
    /// Returns the value. Bytes that are not UTF-8 are replaced.
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        let raw = String::from_utf8_lossy(self.raw);
        if !self.is_escaped {
            return raw;
        }
        // `quoted` has parsed it before, so that it always has a value.
        serde_json::from_str(&format!("\"{raw}\"")).map_or(raw, Cow::Owned)
    }

    /// Returns the value's bytes.
    pub(crate) fn bytes(&self) -> Cow<'a, [u8]> {
        match self.is_escaped {
            false => Cow::Borrowed(self.raw),
            true => Cow::Owned(self.decode().into_owned().into_bytes()),
        }
    }
}

/// The fields of a line that were found so far.
#[derive(Default)]
struct Fields<'a> {
    task_id: Option<Text<'a>>,
    status: Option<Text<'a>>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    tokens_per_sec: Option<u64>,
    queue_wait: Option<u64>,
    processing_time: Option<u64>,
    total_time: Option<u64>,
    model: Option<Text<'a>>,
    owner: Option<Text<'a>>,
    result_cache: Option<Text<'a>>,
    error_type: Option<Text<'a>>,
    error_message: Option<Text<'a>>,
}

/// Parses a line without its line end.
///
/// # Errors
/// If it does not have the log's format.
#[inline]
pub(crate) fn parse<'a>(line: &'a [u8], clock: &mut Clock) -> Result<Line<'a>, Malformed> {
    if line.len() > MAX_LINE {
        return Err(Malformed::TooLong);
    }
    let (at, mut rest) = time(line, clock)?;
    let mut fields = Fields::default();
    usual::take(&mut rest, &mut fields);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| !is_name(*byte)).ok_or(Malformed::Fields)?;
        if end == 0 || rest[end] != b'=' {
            return Err(Malformed::Fields);
        }
        let (name, tail) = (&rest[..end], &rest[end + 1..]);
        let (value, tail) = if tail.first() == Some(&b'"') { quoted(tail)? } else { bare(tail) };
        rest = match tail {
            [b' ', tail @ ..] => tail,
            [] => tail,
            _ => return Err(Malformed::Fields),
        };
        fields.add(name, value)?;
    }
    Ok(Line {
        at,
        task_id: fields.task_id.ok_or(Malformed::Missing("task_id"))?,
        status: outcome(fields.status.ok_or(Malformed::Missing("status"))?)?,
        prompt_tokens: fields.prompt_tokens,
        completion_tokens: fields.completion_tokens,
        cached_tokens: fields.cached_tokens,
        tokens_per_sec: fields.tokens_per_sec,
        queue_wait: fields.queue_wait,
        processing_time: fields.processing_time,
        total_time: fields.total_time,
        model: fields.model,
        owner: fields.owner,
        is_cached: fields.result_cache.is_some_and(|found| found.raw == b"hit"),
        error_type: fields.error_type,
        error_message: fields.error_message,
    })
}

impl<'a> Fields<'a> {
    /// Adds a field, unless it is unknown or there is one of its name.
    fn add(&mut self, name: &[u8], value: Text<'a>) -> Result<(), Malformed> {
        let mut text = |field: fn(&mut Self) -> &mut Option<Text<'a>>| {
            field(self).get_or_insert(value);
            Ok(())
        };
        match name {
            b"task_id" => text(|fields| &mut fields.task_id),
            b"status" => text(|fields| &mut fields.status),
            b"model" => text(|fields| &mut fields.model),
            b"owner" => text(|fields| &mut fields.owner),
            b"result_cache" => text(|fields| &mut fields.result_cache),
            b"error_type" => text(|fields| &mut fields.error_type),
            b"error_message" => text(|fields| &mut fields.error_message),
            b"prompt_tokens" => number(&mut self.prompt_tokens, value, "prompt_tokens", whole),
            b"completion_tokens" => {
                number(&mut self.completion_tokens, value, "completion_tokens", whole)
            }
            b"cached_tokens" => number(&mut self.cached_tokens, value, "cached_tokens", whole),
            b"tokens_per_sec" => {
                number(&mut self.tokens_per_sec, value, "tokens_per_sec", hundredths)
            }
            b"queue_wait" => number(&mut self.queue_wait, value, "queue_wait", span),
            b"processing_time" => number(&mut self.processing_time, value, "processing_time", span),
            b"total_time" => number(&mut self.total_time, value, "total_time", span),
            _ => Ok(()),
        }
    }
}

/// Splits off the time. Anything between its seconds and `] ` is ignored.
#[inline]
fn time<'a>(line: &'a [u8], clock: &mut Clock) -> Result<(i64, &'a [u8]), Malformed> {
    let rest = match line {
        [] => return Err(Malformed::Empty),
        [b'[', rest @ ..] => rest,
        _ => return Err(Malformed::Time),
    };
    let at = rest.first_chunk().and_then(|text| clock.parse(text)).ok_or(Malformed::Time)?;
    let tail = &rest[19..];
    let fields = match tail {
        [b']', b' ', fields @ ..] => fields,
        _ => &tail[memmem::find(tail, b"] ").ok_or(Malformed::Time)? + 2..],
    };
    Ok((at, fields))
}

#[inline]
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Splits off a value up to the next space.
#[inline]
fn bare(text: &[u8]) -> (Text<'_>, &[u8]) {
    let (raw, rest) = text.split_at(memchr(b' ', text).unwrap_or(text.len()));
    (Text { raw, is_escaped: false }, rest)
}

/// Splits off a JSON string.
fn quoted(text: &[u8]) -> Result<(Text<'_>, &[u8]), Malformed> {
    let (mut end, mut is_escaped) = (1, false);
    loop {
        end += memchr2(b'"', b'\\', text.get(end..).unwrap_or(&[])).ok_or(Malformed::Quoted)?;
        if text[end] == b'"' {
            break;
        }
        is_escaped = true;
        end += 2;
    }
    let raw = &text[1..end];
    if raw.iter().any(|byte| *byte < b' ') {
        return Err(Malformed::Quoted);
    }
    if is_escaped {
        let json = String::from_utf8_lossy(&text[..=end]);
        serde_json::from_str::<IgnoredAny>(&json).map_err(|_| Malformed::Quoted)?;
    }
    Ok((Text { raw, is_escaped }, &text[end + 1..]))
}

fn outcome(status: Text<'_>) -> Result<Status, Malformed> {
    match status.raw {
        b"success" => Ok(Status::Success),
        b"error" => Ok(Status::Error),
        b"cancelled" => Ok(Status::Cancelled),
        _ => Err(Malformed::Status),
    }
}

fn number(
    field: &mut Option<u64>,
    text: Text<'_>,
    name: &'static str,
    parse: fn(&[u8]) -> Option<u64>,
) -> Result<(), Malformed> {
    if field.is_none() {
        *field = Some(parse(text.raw).ok_or(Malformed::Number(name))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
