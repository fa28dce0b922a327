//! Identifies each request by an id that appears in the logs of all services it passes.

use actix_web::http::header::HeaderMap;
use uuid::Uuid;

/// The header that carries the id, in requests and responses.
pub(super) const HEADER: &str = "x-request-id";

/// Returns the client's id if it is safe to log, else a new one.
pub(super) fn choose(headers: &HeaderMap) -> String {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_request_ids_are_accepted() {
        for good in ["a", "req-1.2_3", &"x".repeat(64)] {
            assert!(is_sane(good), "{good}");
        }
        for bad in ["", "a b", "a\nb", "a=b", "é", "\"", &"x".repeat(65)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
    }
}
