//! What a request says about the result cache, and what its response says.

use actix_web::http::header::{CACHE_CONTROL, HeaderMap};
use protocol::{CacheStatus, Outcome, Reuse, TaskSnapshot};

/// The response header that says whether the answer came from the result cache.
pub(crate) const STATUS: &str = "x-cache";

/// Reads `Cache-Control`: `no-store` neither takes nor stores an answer; `no-cache` and `max-age=0` have it computed anew.
/// Other directives are ignored.
pub(crate) fn asked(headers: &HeaderMap) -> Reuse {
    let values = headers.get_all(CACHE_CONTROL).filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let strictest = directives.map(|directive| match directive.to_ascii_lowercase().as_str() {
        "no-store" => Reuse::Off,
        "no-cache" | "max-age=0" => Reuse::Refresh,
        _ => Reuse::Allowed,
    });
    strictest.max_by_key(|reuse| *reuse as u8).unwrap_or_default()
}

/// Returns the value of [`STATUS`] for a response with these results: `hit` if none of them was computed. `None` if the
/// cache was not searched for any.
pub(crate) fn status<'a>(
    ended: impl IntoIterator<Item = &'a TaskSnapshot>,
) -> Option<(&'static str, &'static str)> {
    let outcomes = ended.into_iter().filter_map(|snapshot| snapshot.outcome.as_ref());
    let all: Vec<Option<CacheStatus>> = outcomes.map(Outcome::cache).collect();
    let status = match all.iter().all(|status| *status == Some(CacheStatus::Hit)) {
        true => all.first().copied().flatten()?,
        false => all.iter().any(Option::is_some).then_some(CacheStatus::Miss)?,
    };
    Some((STATUS, status.as_str()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn the_strictest_directive_counts() {
        let asked = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            super::asked(&headers)
        };
        assert_eq!(asked(&[]), Reuse::Allowed);
        assert_eq!(asked(&["max-age=60, private"]), Reuse::Allowed);
        assert_eq!(asked(&["No-Cache"]), Reuse::Refresh);
        assert_eq!(asked(&["max-age=0"]), Reuse::Refresh);
        assert_eq!(asked(&["no-store"]), Reuse::Off);
        assert_eq!(asked(&["no-store,no-cache"]), Reuse::Off);
        assert_eq!(asked(&["no-cache", "no-store"]), Reuse::Off);
    }
}
