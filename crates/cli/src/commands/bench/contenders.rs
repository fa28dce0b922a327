//! Who answers a mixed load: the engine alone, a gateway with what is behind it, llama.cpp's server.

use anyhow::{Context, Result, bail};
use engine::bench::greedy;
use engine::{Engine, Input, Progress};
use serde_json::{Value, json};
use ureq::Agent;

use super::mixed::{Contender, Ear, Usage};
use crate::client::sse::Events;

/// The engine in this process, without a queue.
pub(super) struct Bare<'a>(pub(super) &'a Engine);

impl Contender for Bare<'_> {
    fn answer(&self, prompt: &str, tokens: usize, ear: &mut Ear) -> Result<Usage> {
        let mut generation = self.0.submit(&greedy(Input::Text(prompt.to_owned()), tokens))?;
        loop {
            match generation.next_blocking() {
                Some(Progress::Text { .. }) => ear.hear(),
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

/// A gateway of ours: submits, and follows the events.
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
    fn answer(&self, prompt: &str, tokens: usize, ear: &mut Ear) -> Result<Usage> {
        let body = json!({ "prompt": prompt, "raw": true, "max_tokens": tokens, "temperature": 0 });
        let request = self.agent.post(format!("{}/generate", self.url));
        let mut reply = request.header("X-API-Key", &self.key).send_json(&body)?;
        let accepted: Value = reply.body_mut().read_json()?;
        let task_id =
            accepted["task_id"].as_str().context("the gateway's answer has no task_id")?;
        let request = self.agent.get(format!("{}/events/{task_id}", self.url));
        let reply = request.header("X-API-Key", &self.key).call()?;
        for event in Events::new(reply.into_body().into_reader()) {
            let event = event?;
            match &*event.name {
                "token" => ear.hear(),
                "completed" => {
                    let metrics = &event.data["metrics"];
                    return usage(&metrics["prompt_tokens"], &metrics["completion_tokens"]);
                }
                "failed" | "cancelled" => bail!("a task ended otherwise: {}", event.data),
                _ => {}
            }
        }
        bail!("a task's events broke off")
    }
}

/// `llama-server`.
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
    fn answer(&self, prompt: &str, tokens: usize, ear: &mut Ear) -> Result<Usage> {
        let body = json!({
            "prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": true,
            "cache_prompt": false, "stream": true,
        });
        let request = self.agent.post(format!("{}/completion", self.url));
        let reply = request.send_json(&body)?;
        for event in Events::new(reply.into_body().into_reader()) {
            let data = event?.data;
            if data["content"].as_str().is_some_and(|text| !text.is_empty()) {
                ear.hear();
            }
            if data["stop"] == true {
                return usage(&data["tokens_evaluated"], &data["tokens_predicted"]);
            }
        }
        bail!("llama-server broke its answer off")
    }
}

/// Keeps a connection per client.
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
        let number = value.as_u64().context("an answer tells no number of tokens")?;
        usize::try_from(number).context("an answer tells too many tokens")
    };
    Ok(Usage { prompt_tokens: number(prompt)?, completion_tokens: number(completion)? })
}
