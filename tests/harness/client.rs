//! An HTTP client, like one that a user would write.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::history::TaskEvent;
use crate::process::{KEY, Process};
use crate::wait_for;

/// A response: its status, JSON body, and `Retry-After` in seconds.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; null if there is none.
    pub body: Value,
    /// `Retry-After`, if it was sent.
    pub retry_after: Option<u32>,
}

/// Sends requests to one gateway.
pub struct Client {
    agent: Agent,
    base: String,
    key: String,
}

impl Client {
    /// A client of the gateway on `port`, with the tests' key.
    pub fn new(port: u16) -> Self {
        Self::with_key(port, KEY)
    }

    /// A client with another key.
    pub fn with_key(port: u16, key: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None) // whatever the environment of the tests says
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Self { agent: config.into(), base: format!("http://127.0.0.1:{port}"), key: key.to_owned() }
    }

    /// Returns the gateway's port.
    ///
    /// # Panics
    /// Never: the base URL was made from a port.
    pub fn port(&self) -> u16 {
        self.base.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Waits until the gateway answers and, with `model`, until a worker has loaded its model.
    ///
    /// # Panics
    /// If `process` dies, or a minute passes.
    pub fn wait_until_healthy(&self, process: &mut Process, model: bool) {
        wait_for("a healthy gateway", Duration::from_secs(60), || {
            assert!(process.is_alive(), "the process ended and printed:\n{}", process.output());
            let health = self.agent.get(format!("{}/health", self.base)).call().ok()?;
            let body: Value = health.into_body().read_json().ok()?;
            let loaded = !model || body["model_loaded"] == true;
            (body["status"] == "healthy" && loaded).then_some(())
        });
    }

    /// Sends `GET path`.
    ///
    /// # Panics
    /// If there is no response.
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("no response")
    }

    /// Sends `POST path` with a JSON body.
    ///
    /// # Panics
    /// If there is no response.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).expect("no response")
    }

    /// Sends `GET path`. Returns `None` if there is no response, as when the gateway was killed.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("X-API-Key", &self.key);
        answer(request.call().ok()?)
    }

    /// Sends `POST path` with a JSON body. Returns `None` if there is no response.
    pub fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let request =
            self.agent.post(format!("{}{path}", self.base)).header("X-API-Key", &self.key);
        answer(request.send_json(body).ok()?)
    }

    /// Sends `POST path` with a JSON body and further headers. Returns `None` if there is no response.
    pub fn try_post_with(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let request =
            self.agent.post(format!("{}{path}", self.base)).header("X-API-Key", &self.key);
        let with = |request: ureq::RequestBuilder<_>, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        answer(headers.iter().fold(request, with).send_json(body).ok()?)
    }

    /// Sends `PATCH path` with a JSON body.
    ///
    /// # Panics
    /// If there is no response.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        let request =
            self.agent.patch(format!("{}{path}", self.base)).header("X-API-Key", &self.key);
        request.send_json(body).ok().and_then(answer).expect("no response")
    }

    /// Sends `DELETE path`.
    ///
    /// # Panics
    /// If there is no response.
    pub fn delete(&self, path: &str) -> Answer {
        let request =
            self.agent.delete(format!("{}{path}", self.base)).header("X-API-Key", &self.key);
        request.call().ok().and_then(answer).expect("no response")
    }

    /// Uploads a file of requests and returns its id.
    ///
    /// # Panics
    /// If it is refused.
    pub fn upload_batch(&self, content: &str) -> String {
        let field = "Content-Disposition: form-data; name=";
        let body = format!(
            "--bound\r\n{field}\"purpose\"\r\n\r\nbatch\r\n\
             --bound\r\n{field}\"file\"; filename=\"lines.jsonl\"\r\n\r\n{content}\r\n--bound--\r\n"
        );
        let request = self.agent.post(format!("{}/v1/files", self.base));
        let request = request
            .header("X-API-Key", &self.key)
            .header("Content-Type", "multipart/form-data; boundary=bound");
        let answer = request.send(body).ok().and_then(answer).expect("no response");
        let id = answer.body["id"].as_str();
        id.unwrap_or_else(|| panic!("refused: {answer:?}")).to_owned()
    }

    /// Returns the content of a file.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn file_content(&self, id: &str) -> String {
        let request = self.agent.get(format!("{}/v1/files/{id}/content", self.base));
        let response = request.header("X-API-Key", &self.key).call().expect("no response");
        assert_eq!(response.status().as_u16(), 200, "the content of {id}");
        let mut text = String::new();
        response.into_body().into_reader().read_to_string(&mut text).expect("UTF-8");
        text
    }

    /// Returns all events of a task, from the first to the last.
    pub fn events(&self, task_id: &str) -> Vec<TaskEvent> {
        self.follow(task_id, TaskEvent::is_last)
    }

    /// Follows a task's events until `enough` returns true for one, or the stream ends.
    ///
    /// # Panics
    /// If there is no stream, it breaks, or two minutes pass.
    pub fn follow(&self, task_id: &str, enough: impl Fn(&TaskEvent) -> bool) -> Vec<TaskEvent> {
        let stream = self.stream(&format!("/events/{task_id}"), None).expect("a stream of events");
        let (mut events, mut seq, mut name) = (Vec::new(), 0, String::new());
        for line in stream.lines() {
            let line = line.expect("the stream goes on");
            match line.split_once(": ") {
                Some(("id", id)) => seq = id.parse().expect("an event's number"),
                Some(("event", event)) => name = event.to_owned(),
                Some(("data", data)) => {
                    let data = serde_json::from_str(data).expect("an event's data");
                    events.push(TaskEvent { seq, name: std::mem::take(&mut name), data });
                    if events.last().is_some_and(&enough) {
                        break;
                    }
                }
                _ => {}
            }
        }
        events
    }

    /// Sends `GET path`, or `POST path` with a JSON body, and returns the response's body as it arrives, for at
    /// most two minutes. Returns `None` if there is no response.
    ///
    /// # Panics
    /// If the response's status is not 200.
    pub fn stream(&self, path: &str, body: Option<&Value>) -> Option<impl BufRead + use<>> {
        let url = format!("{}{path}", self.base);
        let limit = Some(Duration::from_secs(120));
        let response = match body {
            Some(body) => {
                let request = self.agent.post(url).config().timeout_global(limit).build();
                request.header("X-API-Key", &self.key).send_json(body)
            }
            None => {
                let request = self.agent.get(url).config().timeout_global(limit).build();
                request.header("X-API-Key", &self.key).call()
            }
        };
        let response = response.ok()?;
        assert_eq!(response.status().as_u16(), 200, "{path}");
        Some(BufReader::new(response.into_body().into_reader()))
    }

    /// Submits a body for `POST /generate` and returns the task's id.
    ///
    /// # Panics
    /// If it is not accepted with 202.
    pub fn submit(&self, body: &Value) -> String {
        let answer = self.post("/generate", body);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.body["status"], "queued", "{answer:?}");
        answer.body["task_id"].as_str().expect("a task_id").to_owned()
    }

    /// Submits a prompt with greedy sampling and returns the task's id.
    pub fn ask(&self, prompt: &str) -> String {
        self.submit(&json!({"prompt": prompt, "temperature": 0.0, "max_tokens": 100}))
    }

    /// Polls `/result` until the task has ended, for at most `limit`, and returns the response.
    ///
    /// # Panics
    /// If the limit passes.
    pub fn wait_for_result(&self, task_id: &str, limit: Duration) -> Answer {
        wait_for(&format!("the result of {task_id}"), limit, || {
            let answer = self.get(&format!("/result/{task_id}"));
            (answer.status != 202).then_some(answer)
        })
    }

    /// Returns a task's status.
    ///
    /// # Panics
    /// If the response has none.
    pub fn status(&self, task_id: &str) -> String {
        let answer = self.get(&format!("/status/{task_id}"));
        answer.body["status"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    /// Waits until a task is in `state`.
    ///
    /// # Panics
    /// If 20 seconds pass.
    pub fn wait_for_state(&self, task_id: &str, state: &str) {
        wait_for(&format!("{task_id} to be {state}"), Duration::from_secs(20), || {
            (self.status(task_id) == state).then_some(())
        });
    }
}

/// Reads a response. Returns `None` if it breaks off.
fn answer(response: ureq::http::Response<ureq::Body>) -> Option<Answer> {
    let header = response.headers().get("retry-after");
    let retry_after = header.and_then(|value| value.to_str().ok()).and_then(|s| s.parse().ok());
    let status = response.status().as_u16();
    let text = response.into_body().read_to_string().ok()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Some(Answer { status, body, retry_after })
}
