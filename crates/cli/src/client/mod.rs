//! Speaks the gateway's HTTP, for the client's verbs.

mod sse;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

pub(crate) use sse::Events;

/// How long the gateway may hold an answer back until a task has ended, in seconds: well below what
/// proxies allow.
const WAIT_S: u32 = 30;
/// Pause before asking again when the gateway did not wait: it stops, or is an old one.
const PAUSE: Duration = Duration::from_millis(500);

/// Which gateway, and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The gateway's address.
    #[arg(long, env = "QWEN_QUEUE_URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// The API key.
    #[arg(long, env = "QWEN_QUEUE_API_KEY", hide_env_values = true)]
    key: String,
}

/// A connection to one gateway.
pub(crate) struct Client {
    agent: Agent,
    target: Target,
}

impl Client {
    /// Connects on first use.
    pub(crate) fn new(target: &Target) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(90)))
            .build();
        let mut target = target.clone();
        target.url = target.url.trim_end_matches('/').to_owned();
        Self { agent: config.into(), target }
    }

    /// `POST`s JSON and reads JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(self.at(path)).header("X-API-Key", &self.target.key);
        read(request.send_json(body).with_context(|| self.unreachable())?)
    }

    /// `GET`s JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(self.at(path)).header("X-API-Key", &self.target.key);
        read(request.call().with_context(|| self.unreachable())?)
    }

    /// Opens the event stream of a task, after event number `after`.
    pub(crate) fn events(&self, task_id: &str, after: u64) -> Result<Events> {
        let response = self
            .agent
            .get(self.at(&format!("/events/{task_id}?after={after}")))
            .header("X-API-Key", &self.target.key)
            .header("Accept", "text/event-stream")
            .call()
            .with_context(|| self.unreachable())?;
        if !response.status().is_success() {
            bail!("{}", refusal(response));
        }
        Ok(Events::new(response.into_body().into_reader()))
    }

    /// Asks for a task's result until it has one.
    pub(crate) fn wait_for_result(&self, task_id: &str) -> Result<Value> {
        loop {
            let asked = Instant::now();
            let result = self.get(&format!("/result/{task_id}?wait={WAIT_S}"))?;
            match result["status"].as_str() {
                Some("queued" | "processing") if asked.elapsed() < PAUSE => {
                    std::thread::sleep(PAUSE);
                }
                Some("queued" | "processing") => {}
                _ => return Ok(result),
            }
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.target.url)
    }

    fn unreachable(&self) -> String {
        format!(
            "no gateway answers at {}: start one with `qwen-queue up`, or name another with --url",
            self.target.url
        )
    }
}

/// The JSON of a good answer, or the gateway's own words of a bad one.
fn read(mut response: Response<Body>) -> Result<Value> {
    if !response.status().is_success() {
        bail!("{}", refusal(response));
    }
    response.body_mut().read_json().context("the gateway's answer is not JSON")
}

/// What the gateway said was wrong, in one line per problem.
fn refusal(mut response: Response<Body>) -> String {
    let status = response.status();
    let retry = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(|seconds| format!(" (try again in {seconds} s)"))
        .unwrap_or_default();
    let body: Value = response.body_mut().read_json().unwrap_or_default();
    let detail = match &body["detail"] {
        Value::String(text) => text.clone(),
        Value::Array(problems) => problems.iter().map(problem).collect::<Vec<_>>().join("; "),
        _ => status.canonical_reason().unwrap_or("refused").to_owned(),
    };
    format!("{} {detail}{retry}", status.as_u16())
}

/// `max_tokens: must be at least 1`.
fn problem(problem: &Value) -> String {
    let field = problem["loc"].as_array().and_then(|loc| loc.last()).and_then(Value::as_str);
    let message = problem["msg"].as_str().unwrap_or("not allowed");
    field.map_or_else(|| message.to_owned(), |field| format!("{field}: {message}"))
}
