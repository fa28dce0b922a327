//! Sends requests with an API key, and distinguishes JSON responses, rejections and network
//! failures.

use std::io::Read;
use std::time::Duration;

use proxies::{Agents, BadProxy, UsedProxy, Variables};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder, SendBody};

use super::target::Access;
use crate::text::printable;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// There was no response, or the connection failed while it was read.
    #[error("no gateway answers at {url}{}: {reason}; {}", through(via), connection_advice(via))]
    Unreachable {
        /// The gateway's URL.
        url: String,
        /// The proxy that the request went through.
        via: Option<UsedProxy>,
        /// The network error.
        reason: String,
    },
    /// The gateway rejected the request.
    #[error(
        "{status} {message}{}{}",
        through(via),
        retry_after.map_or(String::new(), |s| format!(" (try again in {s} s)"))
    )]
    Refused {
        /// The proxy that the response came through, and which may have sent it itself.
        via: Option<UsedProxy>,
        /// The HTTP status.
        status: u16,
        /// The error message in the response.
        message: String,
        /// After how many seconds to retry.
        retry_after: Option<u32>,
    },
    /// This version cannot read the response.
    #[error("the gateway's response to {path} can't be parsed: {reason}")]
    Unreadable {
        /// The path of the request.
        path: String,
        /// The problem with the response.
        reason: String,
    },
    /// An environment variable is not a valid proxy address.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
}

/// Formats ` through the proxy …`, or an empty text without a proxy.
fn through(via: &Option<UsedProxy>) -> String {
    via.as_ref().map_or_else(String::new, |via| format!(" through {via}"))
}

fn connection_advice(via: &Option<UsedProxy>) -> &'static str {
    match via {
        None => "start one with `qwen-queue up`, or set its URL with --url",
        Some(_) => "if it needs no proxy, add its host to no_proxy",
    }
}

impl ClientError {
    /// Returns `true` if a later retry may succeed: after a network failure or an error of the
    /// gateway itself.
    pub(crate) fn may_succeed_later(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502..=504),
            Self::Unreadable { .. } | Self::Proxy(_) => false,
        }
    }
}

/// An HTTP client for one gateway with one key.
#[derive(Debug, Clone)]
pub(super) struct Http {
    agents: Agents,
    access: Access,
}

impl Http {
    /// Creates a client, which connects on first use. A response may take as long as `patience`.
    pub(super) fn new(access: Access, patience: Duration) -> Self {
        let agents = Agents::new(Variables::from_env(), |config| {
            config
                .http_status_as_error(false)
                .max_redirects(0) // a key is shown to nobody else
                .timeout_connect(Some(patience.min(Duration::from_secs(10))))
                .timeout_recv_response(Some(patience))
        });
        Self { agents, access }
    }

    /// Returns the gateway's URL.
    pub(super) fn url(&self) -> &str {
        &self.access.url
    }

    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.read(path, self.ready(self.agent()?.get(self.at(path)), query).call())
    }

    /// Returns the bytes of a file of at most `most` bytes.
    pub(super) fn download(&self, path: &str, most: u64) -> Result<Vec<u8>, ClientError> {
        let response = self.ready(self.agent()?.get(self.at(path)), &[]).call();
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response, self.via()));
        }
        let read = response.body_mut().with_config().limit(most).read_to_vec();
        read.map_err(|error| self.unreachable(&error))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.read(path, self.ready(self.agent()?.post(self.at(path)), &[]).send_json(body))
    }

    /// Sends `length` bytes of a reader with `POST`.
    pub(super) fn upload(
        &self,
        path: &str,
        bytes: &mut dyn Read,
        length: u64,
    ) -> Result<Value, ClientError> {
        let request = self.ready(self.agent()?.post(self.at(path)), &[]);
        let request = request
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", length.to_string());
        self.read(path, request.send(SendBody::from_reader(bytes)))
    }

    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.read(path, self.ready(self.agent()?.patch(self.at(path)), &[]).send_json(body))
    }

    pub(super) fn delete(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, ClientError> {
        self.read(path, self.ready(self.agent()?.delete(self.at(path)), query).call())
    }

    /// Opens a stream with `GET`. Reading it fails if no bytes arrive for `silence`.
    pub(super) fn stream(
        &self,
        path: &str,
        headers: &[(&str, String)],
        silence: Duration,
    ) -> Result<Response<Body>, ClientError> {
        let request = self.ready(self.agent()?.get(self.at(path)), &[]);
        let request = request.config().timeout_per_read(Some(silence)).build();
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, value));
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response, self.via()))
        }
    }

    fn agent(&self) -> Result<&Agent, ClientError> {
        Ok(self.agents.for_url(&self.access.url)?.0)
    }

    /// Returns the proxy that requests go through.
    fn via(&self) -> Option<UsedProxy> {
        self.agents.for_url(&self.access.url).ok()?.1.cloned()
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.access.url)
    }

    fn ready<B>(&self, request: RequestBuilder<B>, query: &[(&str, String)]) -> RequestBuilder<B> {
        let request = request.header("X-API-Key", &self.access.key);
        query.iter().fold(request, |request, (name, value)| request.query(*name, value))
    }

    /// Returns the JSON of a successful response (null without a body), or the error in a
    /// rejection.
    fn read(
        &self,
        path: &str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Value, ClientError> {
        let mut response = answer.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response, self.via()));
        }
        let text =
            response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| ClientError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.access.url.clone(),
            via: self.via(),
            reason: error.to_string(),
        }
    }
}

/// Formats the error in a rejection as one line.
fn refusal(mut response: Response<Body>, via: Option<UsedProxy>) -> ClientError {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok());
    let retry_after = retry_after.and_then(|seconds| seconds.parse().ok());
    let body: Value = response.body_mut().read_json().unwrap_or_default();
    let message = match (&body["detail"], body["error"]["message"].as_str()) {
        (Value::String(text), _) => text.clone(),
        (Value::Array(problems), _) => problems.iter().map(problem).collect::<Vec<_>>().join("; "),
        (_, Some(text)) => text.to_owned(),
        _ => status.canonical_reason().unwrap_or("refused").to_owned(),
    };
    ClientError::Refused { via, status: status.as_u16(), message: printable(&message), retry_after }
}

/// Formats one problem: `max_tokens: must be at least 1`.
fn problem(problem: &Value) -> String {
    let field = problem["loc"].as_array().and_then(|loc| loc.last()).and_then(Value::as_str);
    let message = problem["msg"].as_str().unwrap_or("not allowed");
    field.map_or_else(|| message.to_owned(), |field| format!("{field}: {message}"))
}
