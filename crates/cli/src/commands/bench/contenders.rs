//! The systems that the mixed load measures: the bare engine, a gateway with its worker, any server
//! with OpenAI's API, and llama.cpp's server.

use anyhow::{Context, Result, bail};
use engine::bench::greedy;
use engine::{Engine, Input, Progress};
use serde_json::{Value, json};
use ureq::Agent;

use super::mixed::{Contender, Timing, Usage};
use crate::client::sse::Events;

/// The engine in this process, without a queue.
pub(super) struct Bare<'a>(pub(super) &'a Engine);

impl Contender for Bare<'_> {
    fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage> {
        let mut generation = self.0.submit(&greedy(Input::Text(prompt.to_owned()), tokens))?;
        loop {
            match generation.next_blocking() {
                Some(Progress::Text { .. }) => timing.text_arrived(),
                Some(Progress::Finished(end)) => {
                    return Ok(Usage {
                        prompt_tokens: end.prompt_tokens,
                        completion_tokens: end.completion_tokens,
                    });
                }
                Some(Progress::Failed(error)) => return Err(error.into()),
                None => bail!("the engine has stopped"),
            }
        }
    }
}

/// A qwen-queue gateway: submits a task and follows its events.
pub(super) struct Gateway {
    url: String,
    key: String,
    agent: Agent,
}

impl Gateway {
    pub(super) fn new(url: String, key: String, clients: usize) -> Self {
        Self { url, key, agent: agent(clients) }
    }
}

impl Contender for Gateway {
    fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage> {
        let body = json!({ "prompt": prompt, "raw": true, "max_tokens": tokens, "temperature": 0 });
        let request = self.agent.post(format!("{}/generate", self.url));
        let mut reply = request.header("X-API-Key", &self.key).send_json(&body)?;
        let accepted: Value = reply.body_mut().read_json()?;
        let task_id =
            accepted["task_id"].as_str().context("the gateway's response has no task_id")?;
        let request = self.agent.get(format!("{}/events/{task_id}", self.url));
        let reply = request.header("X-API-Key", &self.key).call()?;
        for event in Events::new(reply.into_body().into_reader()) {
            let event = event?;
            match &*event.name {
                "token" => timing.text_arrived(),
                "completed" => {
                    let metrics = &event.data["metrics"];
                    return usage(&metrics["prompt_tokens"], &metrics["completion_tokens"]);
                }
                "failed" | "cancelled" => bail!("a task did not complete: {}", event.data),
                _ => {}
            }
        }
        bail!("the event stream ended before the task did")
    }
}

/// A server with OpenAI's chat completions: streams them.
pub(super) struct OpenAi {
    url: String,
    key: String,
    model: String,
    agent: Agent,
    /// The tokens of the chat template.
    template_tokens: usize,
}

impl OpenAi {
    /// Connects to the server, which answers as the first model that it lists, and asks for one token, to count
    /// those of the chat template.
    pub(super) fn new(url: String, key: String, clients: usize) -> Result<Self> {
        let agent = agent(clients);
        let request = agent.get(format!("{url}/v1/models"));
        let mut reply = request.header("Authorization", format!("Bearer {key}")).call()?;
        let models: Value = reply.body_mut().read_json()?;
        let model = models["data"][0]["id"].as_str().context("the server lists no model")?;
        let mut server = Self { url, key, model: model.to_owned(), agent, template_tokens: 0 };
        let used = server.answer("1", 1, &mut Timing::new())?;
        server.template_tokens = used.prompt_tokens.saturating_sub(1);
        Ok(server)
    }
}

impl Contender for OpenAi {
    fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage> {
        let body = json!({
            "model": self.model, "messages": [{ "role": "user", "content": prompt }],
            "max_tokens": tokens, "temperature": 0,
            "stream": true, "stream_options": { "include_usage": true },
        });
        let request = self.agent.post(format!("{}/v1/chat/completions", self.url));
        let request = request.header("Authorization", format!("Bearer {}", self.key));
        let reply = request.send_json(&body)?;
        for event in Events::new(reply.into_body().into_reader()) {
            let data = event?.data; // the usage comes before `[DONE]`, which is no JSON
            if data["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty())
            {
                timing.text_arrived();
            }
            if data["usage"].is_object() {
                let used = &data["usage"];
                return usage(&used["prompt_tokens"], &used["completion_tokens"]);
            }
        }
        bail!("the stream ended without usage")
    }

    fn added_tokens(&self) -> usize {
        self.template_tokens
    }
}

/// llama.cpp's `llama-server`.
pub(super) struct LlamaServer {
    url: String,
    agent: Agent,
}

impl LlamaServer {
    pub(super) fn new(url: String, clients: usize) -> Self {
        Self { url, agent: agent(clients) }
    }
}

impl Contender for LlamaServer {
    fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage> {
        let body = json!({
            "prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": true,
            "cache_prompt": false, "stream": true,
        });
        let request = self.agent.post(format!("{}/completion", self.url));
        let reply = request.send_json(&body)?;
        for event in Events::new(reply.into_body().into_reader()) {
            let data = event?.data;
            if data["content"].as_str().is_some_and(|text| !text.is_empty()) {
                timing.text_arrived();
            }
            if data["stop"] == true {
                return usage(&data["tokens_evaluated"], &data["tokens_predicted"]);
            }
        }
        bail!("llama-server ended its response early")
    }
}

/// Creates an HTTP agent that keeps a connection per client.
fn agent(clients: usize) -> Agent {
    Agent::config_builder()
        .proxy(None) // it would be measured as well
        .max_idle_connections(2 * clients)
        .max_idle_connections_per_host(2 * clients)
        .build()
        .into()
}

fn usage(prompt: &Value, completion: &Value) -> Result<Usage> {
    let number = |value: &Value| {
        let number = value.as_u64().context("the response has no number of tokens")?;
        usize::try_from(number).context("the number of tokens is too large")
    };
    Ok(Usage { prompt_tokens: number(prompt)?, completion_tokens: number(completion)? })
}
