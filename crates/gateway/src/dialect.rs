//! [`Dialect`]: what a family of routes brings along. `crate::dialects` has one folder for each.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::ServiceConfig;
use queue::Reading;
use serde_json::Value;

use crate::describe::Description;
use crate::limit_headers;
use crate::options::Options;
use crate::refusal::Refusal;

/// A family of routes with its own bodies, error format and stream format.
pub(crate) trait Dialect: Send + Sync {
    /// Returns the path prefixes that belong to the dialect: `["/v1"]` is `/v1` and all paths below
    /// it. Every refusal there has the dialect's shape, also for unknown paths, wrong methods,
    /// invalid keys and panics. The longest matching prefix decides; `""` matches every path.
    fn prefixes(&self) -> &'static [&'static str];

    /// Returns whether the path belongs to the dialect although the prefixes give it to another one.
    fn claims(&self, _path: &str) -> bool {
        false
    }

    /// Registers the routes, on each thread of the server. See [`crate::route`].
    fn configure(&self, app: &mut ServiceConfig);

    /// Registers the operators' routes, which may have a listener of their own.
    fn configure_admin(&self, _app: &mut ServiceConfig) {}

    /// Describes the routes for the OpenAPI document, which otherwise lacks them.
    fn describe(&self, _options: &Options) -> Description {
        Description::default()
    }

    /// Adds headers with the state of limits to an answer. OpenAI's by default.
    fn add_limits(&self, readings: &[Reading], headers: &mut HeaderMap) {
        limit_headers::openai(readings, headers);
    }

    /// Formats a refusal: returns the status and the JSON body.
    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value);
}

/// The routes that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// All of them.
    All,
    /// All but the operators'.
    Clients,
    /// The operators', and the health check.
    Operators,
}

/// All dialects of a gateway.
#[derive(Clone)]
pub(crate) struct Dialects(Arc<[Box<dyn Dialect>]>);

impl Dialects {
    /// Combines dialects, one of which must have the prefix `""`.
    pub(crate) fn new(all: Vec<Box<dyn Dialect>>) -> Self {
        debug_assert!(all.iter().any(|dialect| dialect.prefixes().contains(&"")));
        Self(all.into())
    }

    /// Registers the routes of all dialects that a listener serves. Longer prefixes come first, so that no pattern of
    /// a more general dialect takes their paths.
    pub(crate) fn configure(&self, app: &mut ServiceConfig, face: Face) {
        let mut all: Vec<&dyn Dialect> = self.0.iter().map(|dialect| &**dialect).collect();
        let longest = |dialect: &&dyn Dialect| {
            dialect.prefixes().iter().map(|prefix| prefix.len()).max().unwrap_or_default()
        };
        all.sort_by_key(|dialect| std::cmp::Reverse(longest(dialect)));
        if face != Face::Operators {
            all.iter().for_each(|dialect| dialect.configure(app));
        }
        if face != Face::Clients {
            all.iter().for_each(|dialect| dialect.configure_admin(app));
        }
    }

    /// Formats a refusal of a request for `path`, in the shape of the dialect that owns the path.
    pub(crate) fn response(&self, path: &str, refusal: &Refusal) -> HttpResponse {
        match self.owner(path) {
            Some(dialect) => {
                let (status, body) = dialect.shape(refusal);
                refusal.response(status).json(body)
            }
            None => refusal.response(refusal.status).finish(),
        }
    }

    /// Adds headers with the state of limits to the answer to a request for `path`.
    pub(crate) fn add_limits(&self, path: &str, readings: &[Reading], headers: &mut HeaderMap) {
        if let Some(dialect) = self.owner(path) {
            dialect.add_limits(readings, headers);
        }
    }

    /// Formats a refusal of a request for `path` as a JSON body.
    pub(crate) fn body(&self, path: &str, refusal: &Refusal) -> Value {
        self.owner(path).map_or(Value::Null, |dialect| dialect.shape(refusal).1)
    }

    fn owner(&self, path: &str) -> Option<&dyn Dialect> {
        if let Some(dialect) = self.0.iter().find(|dialect| dialect.claims(path)) {
            return Some(&**dialect);
        }
        let matched = |dialect: &dyn Dialect| {
            let prefixes = dialect.prefixes().iter().filter(|prefix| is_at_or_below(path, prefix));
            prefixes.map(|prefix| prefix.len()).max()
        };
        self.0
            .iter()
            .filter_map(|dialect| matched(&**dialect).map(|length| (length, &**dialect)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, dialect)| dialect)
    }
}

/// Returns `true` if `path` is `prefix`, or below it.
fn is_at_or_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Of(&'static [&'static str]);

    impl Dialect for Of {
        fn prefixes(&self) -> &'static [&'static str] {
            self.0
        }

        fn configure(&self, _: &mut ServiceConfig) {}

        fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
            (refusal.status, json!(self.0))
        }
    }

    #[test]
    fn the_longest_prefix_owns_a_path() {
        let all: [&'static [&'static str]; 3] = [&["/v1", "/files"], &[""], &["/v1/messages"]];
        let dialects =
            Dialects::new(all.map(|prefixes| Box::new(Of(prefixes)) as Box<dyn Dialect>).into());
        for (path, prefix) in [
            ("/", ""),
            ("/generate", ""),
            ("*", ""),
            ("/v1", "/v1"),
            ("/v1/models", "/v1"),
            ("/v1/messages", "/v1/messages"),
            ("/v1/messages/count_tokens", "/v1/messages"),
            ("/v1/messagesx", "/v1"),
            ("/v10", ""),
            ("/files/1", "/v1"),
        ] {
            let owner = dialects.owner(path).unwrap().prefixes();
            assert_eq!(owner[0], prefix, "{path}");
        }
    }
}
