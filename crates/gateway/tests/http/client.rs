//! A plain HTTP client.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

/// A complete response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the status and the error message.
    pub(crate) fn error(&self) -> (u16, String) {
        let detail = self.json()["detail"].clone();
        (self.status, detail.as_str().map_or_else(|| detail.to_string(), str::to_owned))
    }

    /// Returns the only problem of a 422 response.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.status, 422, "{self:?}");
        assert_eq!(self.header("x-should-retry"), Some("false"));
        let body = self.json();
        let problems = body["detail"].as_array().expect("a list");
        assert_eq!(problems.len(), 1, "{body}");
        problems[0].clone()
    }
}

/// Sends requests to one gateway with one key.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .max_redirects(0);
        let client =
            Self { agent: config.build().into(), base: base.to_owned(), headers: Vec::new() };
        match key {
            Some(key) => client.with("x-api-key", key),
            None => client,
        }
    }

    /// Adds a header to all requests.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.clone().with("content-type", "application/json").send(
            "POST",
            path,
            Some(body.to_string().as_bytes()),
        )
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Reply {
        let client = self.clone().with("content-type", "application/json");
        client.send("PATCH", path, Some(body.to_string().as_bytes()))
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Reply {
        let mut response = self.open(method, path, body);
        let mut bytes = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// Sends a request and returns the response with its body unread.
    pub(crate) fn open(&self, method: &str, path: &str, body: Option<&[u8]>) -> Response<Body> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match body {
            Some(body) => self.agent.run(request.body(body.to_vec()).unwrap()).unwrap(),
            None => self.agent.run(request.body(()).unwrap()).unwrap(),
        }
    }
}
