//! Parses lines of `llm_requests.log` without copying them.
//!
//! A line is `[time] name=value name="quoted value" …`: `docs/OPERATING.md` describes it. Fields that this version
//! does not know are skipped, since later versions may append some. If a name occurs twice, the first counts.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};
use serde::de::IgnoredAny;

use crate::clock::Clock;

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

/// Why a line is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Malformed {
    /// No bytes.
    #[error("the line is empty")]
    Empty,
    /// No time at the beginning.
    #[error("it does not begin with [YYYY-MM-DD hh:mm:ss]")]
    Time,
    /// Something that is not `name=value`.
    #[error("after the time it is not a list of name=value")]
    Fields,
    /// A quoted value that is not a JSON string.
    #[error("a quoted value does not end, or is not a JSON string")]
    Quoted,
    /// A required field is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// An unknown outcome.
    #[error("its status is not success, error or cancelled")]
    Status,
    /// A figure is not a number, or has another unit.
    #[error("its {0} is not a number in the log's format")]
    Number(&'static str),
    /// More than [`MAX_LINE`] bytes.
    #[error("it has more than {MAX_LINE} bytes")]
    TooLong,
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
    let (mut task_id, mut status, mut tokens_per_sec) = (None, None, None);
    let (mut prompt_tokens, mut completion_tokens, mut cached_tokens) = (None, None, None);
    let (mut queue_wait, mut processing_time, mut total_time) = (None, None, None);
    let (mut model, mut owner, mut error_type, mut error_message) = (None, None, None, None);
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
        match name {
            b"task_id" => first(&mut task_id, value),
            b"status" => first(&mut status, value),
            b"prompt_tokens" => first(&mut prompt_tokens, value),
            b"completion_tokens" => first(&mut completion_tokens, value),
            b"cached_tokens" => first(&mut cached_tokens, value),
            b"tokens_per_sec" => first(&mut tokens_per_sec, value),
            b"queue_wait" => first(&mut queue_wait, value),
            b"processing_time" => first(&mut processing_time, value),
            b"total_time" => first(&mut total_time, value),
            b"model" => first(&mut model, value),
            b"owner" => first(&mut owner, value),
            b"error_type" => first(&mut error_type, value),
            b"error_message" => first(&mut error_message, value),
            _ => {}
        }
    }
    Ok(Line {
        at,
        task_id: task_id.ok_or(Malformed::Missing("task_id"))?,
        status: outcome(status.ok_or(Malformed::Missing("status"))?)?,
        prompt_tokens: number(prompt_tokens, "prompt_tokens", whole)?,
        completion_tokens: number(completion_tokens, "completion_tokens", whole)?,
        cached_tokens: number(cached_tokens, "cached_tokens", whole)?,
        tokens_per_sec: number(tokens_per_sec, "tokens_per_sec", hundredths)?,
        queue_wait: number(queue_wait, "queue_wait", span)?,
        processing_time: number(processing_time, "processing_time", span)?,
        total_time: number(total_time, "total_time", span)?,
        model,
        owner,
        error_type,
        error_message,
    })
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

#[inline]
fn first<'a>(field: &mut Option<Text<'a>>, value: Text<'a>) {
    if field.is_none() {
        *field = Some(value);
    }
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

#[inline]
fn number(
    field: Option<Text<'_>>,
    name: &'static str,
    parse: impl Fn(&[u8]) -> Option<u64>,
) -> Result<Option<u64>, Malformed> {
    match field {
        None => Ok(None),
        Some(text) => parse(text.raw).map(Some).ok_or(Malformed::Number(name)),
    }
}

/// Parses `50`.
#[inline]
fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// Parses `2.30s` as 230.
#[inline]
fn span(text: &[u8]) -> Option<u64> {
    hundredths(text.strip_suffix(b"s")?)
}

/// Parses `34.48` as 3448. Further digits are rounded.
#[inline]
fn hundredths(text: &[u8]) -> Option<u64> {
    if let [head @ .., b'.', tens, ones] = text
        && tens.is_ascii_digit()
        && ones.is_ascii_digit()
        && head.len() < 17
    {
        return Some(whole(head)? * 100 + u64::from(tens - b'0') * 10 + u64::from(ones - b'0'));
    }
    let point = memchr(b'.', text).unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or(&[]);
    let is_decimal =
        fraction.iter().all(u8::is_ascii_digit) && (point == text.len() || !fraction.is_empty());
    if !is_decimal || point > 16 {
        return None;
    }
    let digit = |nth: usize| fraction.get(nth).map_or(0, |byte| u64::from(byte - b'0'));
    let round_up = u64::from(digit(2) >= 5);
    Some(whole(&text[..point])? * 100 + digit(0) * 10 + digit(1) + round_up)
}

#[cfg(test)]
mod tests;
