//! Detects repeated submits: by `Idempotency-Key`, or, without one, the retries that OpenAI's
//! clients send after a lost response.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use queue::{ContentHash, Idempotency, Matches};
use serde_json::Value;

use crate::refusal::Refusal;
use crate::validate::FieldError;

/// The header that carries the client's idempotency key.
pub(crate) const KEY_HEADER: &str = "idempotency-key";
/// The header in which OpenAI's clients send the number of the retry, from 0.
const RETRY_HEADER: &str = "x-stainless-retry-count";
/// Maximum length of a key.
const MAX_KEY: usize = 255;
/// The time after a submit within which its retry is recognized. Covers a wait of a minute and the
/// pauses between retries.
const RETRY_WINDOW: Duration = Duration::from_secs(120);

/// Determines which earlier submit the request may repeat. `route` distinguishes equal bodies of
/// different routes.
///
/// # Errors
/// If the key is empty, too long or not printable.
pub(crate) fn of(
    headers: &HeaderMap,
    route: &str,
    body: &Value,
) -> Result<Option<Idempotency>, Refusal> {
    find(headers, || fingerprint(route, body))
}

/// Determines which earlier submit a form may repeat, as [`of`] does. `body` is called if necessary.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_form(
    headers: &HeaderMap,
    route: &str,
    body: impl Fn() -> Value,
) -> Result<Option<Idempotency>, Refusal> {
    find(headers, || fingerprint(route, &body()))
}

fn find(
    headers: &HeaderMap,
    body_hash: impl Fn() -> String,
) -> Result<Option<Idempotency>, Refusal> {
    if let Some(key) = headers.get(KEY_HEADER) {
        let key = key.as_bytes();
        let is_usable = (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        let Some(key) = is_usable.then(|| String::from_utf8_lossy(key)) else {
            return Err(Refusal::invalid(vec![FieldError::new(
                ["header".into(), "Idempotency-Key".into()],
                "string_pattern_mismatch",
                format!("must have 1 to {MAX_KEY} visible ASCII characters and no spaces"),
            )]));
        };
        let (key, matches) = (format!("key:{key}"), Matches::Always);
        return Ok(Some(Idempotency { key, body_hash: body_hash(), matches }));
    }
    let tries = headers.get(RETRY_HEADER).and_then(|tries| tries.to_str().ok());
    let Some(tries) = tries.and_then(|tries| tries.parse::<u32>().ok()) else { return Ok(None) };
    let body_hash = body_hash();
    // A first try always creates a new task, because users may submit the same prompt twice on
    // purpose.
    let matches = if tries == 0 { Matches::Never } else { Matches::Within(RETRY_WINDOW) };
    Ok(Some(Idempotency { key: format!("body:{body_hash}"), body_hash, matches }))
}

/// Returns a hash of the body that does not depend on the order of its keys.
fn fingerprint(route: &str, body: &Value) -> String {
    let text = format!("{route}\n{}", sorted(body));
    ContentHash::of(text.as_bytes()).to_string()
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<_, _> = map.iter().collect();
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), sorted(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;
    use crate::refusal::Code;

    fn found(name: &'static str, value: &str) -> Result<Option<Idempotency>, Refusal> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.insert(HeaderName::from_static(name), value);
        of(&headers, "generate", &json!({"prompt": "x"}))
    }

    #[test]
    fn idempotency_keys_are_validated() {
        let longest = "k".repeat(255);
        for good in ["a", "0192f0c1-2345", "~!", &longest] {
            let idempotency = found(KEY_HEADER, good).unwrap().unwrap();
            assert_eq!(idempotency.key, format!("key:{good}"));
            assert_eq!(idempotency.matches, Matches::Always);
        }
        for bad in ["", "a b", "é", &"k".repeat(256)] {
            let refusal = found(KEY_HEADER, bad).unwrap_err();
            assert_eq!(refusal.code, Code::Invalid, "{bad}");
        }
    }

    #[test]
    fn retry_without_a_key_matches_the_first_try() {
        let first = found(RETRY_HEADER, "0").unwrap().unwrap();
        let again = found(RETRY_HEADER, "2").unwrap().unwrap();
        assert_eq!((&first.key, &first.body_hash), (&again.key, &again.body_hash));
        assert_eq!(first.matches, Matches::Never);
        assert_eq!(again.matches, Matches::Within(RETRY_WINDOW));
        assert_eq!(found(RETRY_HEADER, "x").unwrap(), None);
        assert_eq!(found("x-other", "1").unwrap(), None);
    }

    #[test]
    fn fingerprint_ignores_field_order_but_not_values() {
        let of = |text: &str| fingerprint("generate", &serde_json::from_str(text).unwrap());
        assert_eq!(
            of(r#"{"a":1,"b":{"c":[1,2],"d":""}}"#),
            of(r#"{"b":{"d":"","c":[1,2]},"a":1}"#)
        );
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":"1"}"#));
        assert_ne!(of("[1,2]"), of("[2,1]"));
        assert_ne!(fingerprint("generate", &json!({})), fingerprint("other", &json!({})));
    }
}
