//! Cross-origin resource sharing: lets scripts of the configured web pages read answers.
//!
//! Keys are sent in headers, never in cookies, so credentials in the sense of CORS are not allowed, and a page can
//! do no more than whoever gave it a key.

use actix_cors::Cors;
use actix_web::http::header::{HeaderMap, VARY};
use actix_web::middleware::Condition;
use service::settings::Origins;

/// The time for which browsers may keep the answer to a preflight, in seconds.
const MAX_AGE_S: usize = 7200;

/// The headers of answers that scripts may read, beyond those that they always may.
const EXPOSED: [&str; 33] = [
    "allow",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "content-disposition",
    "idempotent-replayed",
    "location",
    "openai-model",
    "openai-organization",
    "openai-processing-ms",
    "openai-version",
    "preference-applied",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "server-timing",
    "www-authenticate",
    "x-cache",
    "x-queue-eta",
    "x-queue-position",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
    "x-should-retry",
    "x-task-id",
    "x-trace-id",
];

/// Answers preflights, on every path and without a key, and adds the headers to all other answers. Does nothing if
/// no origin is configured.
pub(crate) fn cors(origins: &Origins) -> Condition<Cors> {
    let cors = Cors::default().allow_any_method().allow_any_header().expose_headers(EXPOSED);
    let cors = cors.max_age(MAX_AGE_S);
    let cors = match origins {
        Origins::None => cors,
        Origins::Any => cors.allow_any_origin().send_wildcard(),
        Origins::Listed(origins) => {
            origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
        }
    };
    Condition::new(*origins != Origins::None, cors)
}

/// Copies the headers of [`cors`] from an answer to the one that replaces it.
pub(super) fn keep(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if *name == VARY || name.as_str().starts_with("access-control-") {
            to.append(name.clone(), value.clone());
        }
    }
}
