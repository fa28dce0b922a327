//! [`TraceContext`]: a task's place in a distributed trace, as W3C's Trace Context defines it
//! (<https://www.w3.org/TR/trace-context/>).

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The only version that is written.
const VERSION: &str = "00";
/// The length of a `traceparent` of that version. Later versions are at least as long.
const LENGTH: usize = 55;
/// The bit of the flags that says whether the trace is recorded.
const SAMPLED: u8 = 1;

/// Identifies a trace: all work that one request caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Identifies a span, a piece of work in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// A span of a trace, of which others are children. Its text is the value of the header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// The text is not the value of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: expected lower-case hexadecimal digits such as \
     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, with no id of zeros"
)]
pub struct InvalidTraceparent;

impl TraceId {
    /// Wraps a number; `None` if it is 0, which is no id.
    pub fn new(id: u128) -> Option<Self> {
        NonZeroU128::new(id).map(Self)
    }

    /// Returns the number.
    pub const fn get(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// Wraps a number; `None` if it is 0, which is no id.
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl TraceContext {
    /// Returns another span of the same trace.
    pub const fn with_span(self, span_id: SpanId) -> Self {
        Self { span_id, ..self }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "{VERSION}-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    /// Parses a `traceparent` of any version, as far as version 00 defines it.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let (known, more) = text.split_at_checked(LENGTH).ok_or(InvalidTraceparent)?;
        let parts: Vec<&str> = known.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else {
            return Err(InvalidTraceparent);
        };
        let lengths = [version.len(), trace_id.len(), span_id.len(), flags.len()];
        let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_hex = parts.iter().all(|part| part.bytes().all(is_lower_hex));
        // A later version may have further fields.
        let may_follow = more.is_empty() || (version != VERSION && more.starts_with('-'));
        if lengths != [2, 32, 16, 2] || !is_hex || version == "ff" || !may_follow {
            return Err(InvalidTraceparent);
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().and_then(TraceId::new);
        let span_id = u64::from_str_radix(span_id, 16).ok().and_then(SpanId::new);
        let flags = u8::from_str_radix(flags, 16).ok();
        match (trace_id, span_id, flags) {
            (Some(trace_id), Some(span_id), Some(flags)) => {
                Ok(Self { trace_id, span_id, sampled: flags & SAMPLED != 0 })
            }
            _ => Err(InvalidTraceparent),
        }
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id.to_string(), "00f067aa0ba902b7");
        assert!(context.sampled);
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(serde_json::to_string(&context).unwrap(), format!("\"{TEXT}\""));
        assert_eq!(serde_json::from_str::<TraceContext>(&format!("\"{TEXT}\"")).unwrap(), context);
        let of = |from: &str, to: &str| TEXT.replace(from, to).parse::<TraceContext>();
        assert!(!of("b7-01", "b7-00").unwrap().sampled);
        assert!(of("b7-01", "b7-ff").unwrap().sampled, "further flags are ignored");
        assert!(!of("b7-01", "b7-02").unwrap().sampled);
        assert_eq!(of("00-4b", "cc-4b"), Ok(context), "a later version");
        assert_eq!(of("00-4b", "cc-4b").map(|context| context.to_string()), Ok(TEXT.to_owned()));
        assert_eq!(format!("cc{}-what-else", &TEXT[2..]).parse(), Ok(context));
    }

    #[test]
    fn other_texts_are_no_traceparent() {
        let mut wrong: Vec<String> = (0..TEXT.len()).map(|length| TEXT[..length].into()).collect();
        for (from, to) in [
            ("00-4bf", "ff-4bf"),
            ("00-4bf", "0-04bf"),
            ("4bf9", "4BF9"),
            ("4bf9", "4bg9"),
            ("4bf9", "+bf9"),
            ("4bf9", "ü9"),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("-01", "-0x"),
            ("-01", "-011"),
            ("-01", "-01-"),
            ("-01", "-01 "),
            ("-00f0", "00-f0"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT);
            wrong.push(text);
        }
        wrong.push(format!("cc{}.", &TEXT[2..]));
        wrong.push(format!(" {TEXT}"));
        for text in wrong {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceparent), "{text}");
        }
    }
}
