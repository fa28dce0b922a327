//! The settings of traces, whose names and values OpenTelemetry defines.

use std::str::FromStr;

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::Secret;

/// Where traces are sent, and which requests have some.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector's base URL, without credentials; `None` turns traces off.
    pub endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: headers of requests to the collector.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_SERVICE_NAME`: the process's name in traces; `None` is that of its program.
    pub service_name: Option<String>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: TraceSampler,
}

/// Decides which requests have traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceSampler {
    /// A `traceparent` that the client sends decides.
    pub by_parent: bool,
    /// The share of the other requests, 0 to 1.
    pub share: f64,
    /// Whether the share is set apart, in `OTEL_TRACES_SAMPLER_ARG`.
    is_ratio: bool,
}

impl TraceSampler {
    /// Sets the share, if this sampler has one.
    pub(super) fn with_share(self, share: f64) -> Self {
        if self.is_ratio { Self { share, ..self } } else { self }
    }
}

impl Default for TraceSampler {
    fn default() -> Self {
        Self { by_parent: true, share: 1.0, is_ratio: false }
    }
}

impl FromStr for TraceSampler {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (by_parent, name) = match text.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let (share, is_ratio) = match name {
            "always_on" => (1.0, false),
            "always_off" => (0.0, false),
            "traceidratio" => (1.0, true),
            _ => return Err(()),
        };
        Ok(Self { by_parent, share, is_ratio })
    }
}

/// Parses headers: `name=value` pairs separated by commas, with values percent-encoded.
///
/// # Errors
/// Returns the problem, without any value.
pub(super) fn headers(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let parse = |(index, pair): (usize, &str)| {
        let number = index + 1;
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("header {number} has no '=': write name=value"))?;
        let name = name.trim();
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("the name of header {number} is not one of an HTTP header"))?;
        let value = percent_decode_str(value.trim()).decode_utf8();
        let value = value.ok().filter(|value| HeaderValue::from_str(value).is_ok());
        let value = value.ok_or_else(|| {
            format!("the value of header {number} has a character that is not allowed in HTTP")
        })?;
        Ok((name.to_owned(), Secret::new(value)))
    };
    pairs.enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_have_the_names_of_opentelemetry() {
        let of = |text: &str| {
            let sampler: TraceSampler = text.parse().unwrap();
            let sampler = sampler.with_share(0.25);
            (sampler.by_parent, sampler.share)
        };
        assert_eq!(of("always_on"), (false, 1.0));
        assert_eq!(of("always_off"), (false, 0.0));
        assert_eq!(of("traceidratio"), (false, 0.25));
        assert_eq!(of("parentbased_always_on"), (true, 1.0));
        assert_eq!(of("parentbased_always_off"), (true, 0.0));
        assert_eq!(of("parentbased_traceidratio"), (true, 0.25));
        for wrong in ["", "on", "parentbased", "parentbased_", "jaeger_remote"] {
            assert!(wrong.parse::<TraceSampler>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let parsed = headers("authorization=Bearer%20s3cret%3D, x-team = a=b,,").unwrap();
        let plain: Vec<_> =
            parsed.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(plain, [("authorization", "Bearer s3cret="), ("x-team", "a=b")]);
        assert!(!format!("{parsed:?}").contains("s3cret"));
        assert_eq!(headers(""), Ok(Vec::new()));
        for (wrong, word) in [
            ("s3cret", "header 1 has no '='"),
            ("a=b,s3 cret=x", "name of header 2"),
            ("a=s3cret%0a", "value of header 1"),
            ("a=s3cret%ff", "value of header 1"),
        ] {
            let problem = headers(wrong).unwrap_err();
            assert!(problem.contains(word) && !problem.contains("s3"), "{problem}");
        }
    }
}
