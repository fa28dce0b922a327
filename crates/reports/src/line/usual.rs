//! Takes fields that are where this version of the log has them, which is faster than looking at their names.

use super::numbers::MAX_WHOLE;
use super::{Fields, Text, bare};

/// Takes the fields from the beginning of `rest` as far as they have the usual order and simple values. The others are
/// left to the general parser, so a line has the same fields with or without this function.
#[inline]
pub(super) fn take<'a>(rest: &mut &'a [u8], fields: &mut Fields<'a>) {
    fields.task_id = field(rest, b"task_id=", word);
    fields.status = field(rest, b"status=", word);
    fields.prompt_tokens = field(rest, b"prompt_tokens=", whole);
    if fields.prompt_tokens.is_some() {
        fields.completion_tokens = field(rest, b"completion_tokens=", whole);
        fields.tokens_per_sec = field(rest, b"tokens_per_sec=", hundredths);
    }
    fields.queue_wait = field(rest, b"queue_wait=", span);
    if fields.queue_wait.is_some() {
        fields.processing_time = field(rest, b"processing_time=", span);
        fields.total_time = field(rest, b"total_time=", span);
        fields.cached_tokens = field(rest, b"cached_tokens=", whole);
        fields.model = field(rest, b"model=", word);
        fields.owner = field(rest, b"owner=", word);
    }
}

/// Takes the field `name=` and the space behind it. Returns `None` and takes nothing if the text has another field, or
/// another kind of value.
#[inline]
fn field<'a, T, const N: usize>(
    rest: &mut &'a [u8],
    name: &[u8; N],
    value: impl Fn(&'a [u8]) -> Option<(T, &'a [u8])>,
) -> Option<T> {
    let (found, tail) = rest.split_first_chunk::<N>()?;
    if found != name {
        return None;
    }
    let (value, tail) = value(tail)?;
    *rest = match tail {
        [b' ', tail @ ..] => tail,
        [] => tail,
        _ => return None,
    };
    Some(value)
}

#[inline]
fn word(text: &[u8]) -> Option<(Text<'_>, &[u8])> {
    (text.first() != Some(&b'"')).then(|| bare(text))
}

/// Takes at most 18 digits.
#[inline]
fn whole(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut sum, mut length) = (0, 0);
    while let Some(byte) = text.get(length)
        && byte.is_ascii_digit()
    {
        sum = sum * 10 + u64::from(byte - b'0');
        length += 1;
        if length > 18 {
            return None;
        }
    }
    (length > 0).then(|| (sum, &text[length..]))
}

/// Takes a decimal with two decimals.
#[inline]
fn hundredths(text: &[u8]) -> Option<(u64, &[u8])> {
    let (head, tail) = whole(text)?;
    match tail {
        [b'.', tens @ b'0'..=b'9', ones @ b'0'..=b'9', tail @ ..] if head < MAX_WHOLE => {
            Some((head * 100 + u64::from(tens - b'0') * 10 + u64::from(ones - b'0'), tail))
        }
        _ => None,
    }
}

#[inline]
fn span(text: &[u8]) -> Option<(u64, &[u8])> {
    let (span, tail) = hundredths(text)?;
    Some((span, tail.strip_prefix(b"s")?))
}
