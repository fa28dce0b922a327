//! Reads how long a client wants to wait: `Prefer: wait=10` (RFC 7240) or `?wait=10`.

use std::time::Duration;

use super::{FieldError, echo};

/// Maximum wait, in seconds.
const MAX_WAIT_S: u32 = 60;

/// Returns the wait that `Prefer` headers request, in seconds, limited to the maximum. As RFC 7240
/// requires, the first of several values counts, and invalid ones are ignored.
pub fn preferred_wait<'a>(headers: impl Iterator<Item = &'a str>) -> Option<u32> {
    let value = headers.flat_map(|header| header.split(',')).find_map(|preference| {
        // Drops parameters such as `wait=10; parameter`: RFC 7240 defines none for `wait`.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    whole_number(value).map(|seconds| seconds.min(MAX_WAIT_S))
}

/// Returns how long a client waits whose `Prefer` headers request an asynchronous response
/// (`respond-async`), with `wait=` beside it; `None` if they don't.
pub(crate) fn asynchronous(headers: &[&str]) -> Option<Duration> {
    let is_async = |preference: &str| {
        let name = preference.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("respond-async")
    };
    let is_preferred = headers.iter().flat_map(|header| header.split(',')).any(is_async);
    let wait = preferred_wait(headers.iter().copied()).unwrap_or(0);
    is_preferred.then(|| Duration::from_secs(wait.into()))
}

/// Returns the wait that `?wait=` requests, in seconds; 0 if it is absent.
///
/// # Errors
/// If it is not a whole number or exceeds the maximum.
pub fn wait(given: Option<&str>) -> Result<u32, FieldError> {
    let Some(given) = given else { return Ok(0) };
    let problem = |kind| {
        let message =
            format!("must be whole seconds from 0 to {MAX_WAIT_S}, got '{}'", echo(given));
        FieldError::new(["query".into(), "wait".into()], kind, message)
    };
    match whole_number(given) {
        Some(seconds) if seconds <= MAX_WAIT_S => Ok(seconds),
        Some(_) => Err(problem("less_than_equal")),
        None => Err(problem("int_parsing")),
    }
}

/// Parses decimal digits, saturating at `u32::MAX`.
fn whole_number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_preference_is_found_among_others() {
        for (headers, wait) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, wait=10"], Some(10)),
            (&["respond-async", "Wait = 10 ; x=1, foo"], Some(10)),
            (&["wait=\"7\""], Some(7)),
            (&["wait=0"], Some(0)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999999"], Some(60)),
            (&["wait=5, wait=9", "wait=11"], Some(5)),
            (&["wait=soon"], None),
            (&["wait=-1"], None),
            (&["wait=1.5"], None),
            (&["wait="], None),
            (&["wait"], None),
            (&["await=3"], None),
            (&["", ",,;="], None),
            (&[], None),
        ] {
            assert_eq!(preferred_wait(headers.iter().copied()), wait, "{headers:?}");
        }
    }

    #[test]
    fn an_asynchronous_response_is_preferred_by_name() {
        for (prefer, seconds) in [
            ("respond-async", Some(0)),
            ("wait=5, Respond-Async", Some(5)),
            ("respond-async; x=1", Some(0)),
            ("respond-asynchronously", None),
            ("wait=5", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(asynchronous(&[prefer]), expected, "{prefer}");
        }
    }

    #[test]
    fn invalid_wait_values_are_refused_with_a_reason() {
        assert_eq!(wait(None), Ok(0));
        assert_eq!(wait(Some("0")), Ok(0));
        assert_eq!(wait(Some("60")), Ok(60));
        for (bad, kind) in [
            ("61", "less_than_equal"),
            ("99999999999", "less_than_equal"),
            ("", "int_parsing"),
            ("-1", "int_parsing"),
            ("+1", "int_parsing"),
            ("1.5", "int_parsing"),
            ("10s", "int_parsing"),
        ] {
            let error = wait(Some(bad)).unwrap_err();
            assert_eq!(error.kind, kind, "{bad}");
            assert!(error.message.contains("from 0 to 60"), "{}", error.message);
        }
    }
}
