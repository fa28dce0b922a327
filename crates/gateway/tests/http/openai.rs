//! What the tests of OpenAI's routes share: requests that wait, and streams.

use std::io::{BufRead, BufReader, Read};
use std::thread::JoinHandle;

use protocol::{Choice, Chunk, Completion, Outcome, TokenLogprob, TokenLogprobs, ToolCall, Usage};
use queue::Claimed;
use serde_json::{Value, json};

use crate::client::Reply;
use crate::rig::Rig;

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const COMPLETIONS: &str = "/v1/completions";
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";

/// Returns a chat with one message and further fields.
pub(crate) fn chat(fields: Value) -> Value {
    with(json!({"model": "demo", "messages": [{"role": "user", "content": "Why?"}]}), fields)
}

/// Returns `body` with further fields.
pub(crate) fn with(mut body: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// Sends a request on another thread, because it waits for its task.
pub(crate) fn ask(rig: &Rig, path: &'static str, body: Value) -> JoinHandle<Reply> {
    let client = rig.client();
    std::thread::spawn(move || client.post(path, &body))
}

/// Answers a request's task with `outcome`, and returns the response and the task.
pub(crate) fn answered(
    rig: &Rig,
    path: &'static str,
    body: Value,
    outcome: &Outcome,
) -> (Reply, Claimed) {
    let asking = ask(rig, path, body);
    let claimed = rig.claim();
    rig.finish(&claimed, outcome);
    (asking.join().unwrap(), claimed)
}

/// Answers a streamed request's task with these chunks and `outcome`, and returns the events.
pub(crate) fn streamed(
    rig: &Rig,
    path: &'static str,
    body: Value,
    chunks: &[Chunk],
    outcome: &Outcome,
) -> Vec<Value> {
    let asking = ask(rig, path, with(body, json!({"stream": true})));
    let claimed = rig.claim();
    rig.wait(rig.broker.publish(&claimed.lease, 0, chunks)).unwrap();
    rig.finish(&claimed, outcome);
    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    events(&reply.text)
}

/// Returns the data of all events of a stream that ends with `[DONE]`.
pub(crate) fn events(text: &str) -> Vec<Value> {
    let frames = text.strip_suffix("data: [DONE]\n\n").expect(text);
    let events = frames.split_terminator("\n\n").filter(|frame| !frame.starts_with(':'));
    events.map(|frame| data(frame).unwrap_or_else(|| panic!("{frame:?}"))).collect()
}

fn data(frame: &str) -> Option<Value> {
    serde_json::from_str(frame.strip_prefix("data: ")?).ok()
}

/// A streamed response that is read event by event.
pub(crate) struct Live(BufReader<Box<dyn Read>>);

impl Live {
    pub(crate) fn open(rig: &Rig, path: &str, body: Value) -> Self {
        let body = with(body, json!({"stream": true})).to_string();
        let client = rig.client().with("content-type", "application/json");
        let response = client.open("POST", path, Some(body.as_bytes()));
        assert_eq!(response.status().as_u16(), 200);
        Self(BufReader::new(Box::new(response.into_body().into_reader())))
    }

    /// Returns the next event, or `None` after `[DONE]`.
    pub(crate) fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it ends with [DONE]");
            match line.trim_end() {
                "data: [DONE]" => return None,
                line => match data(line) {
                    Some(data) => return Some(data),
                    None => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
                },
            }
        }
    }

    pub(crate) fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Concatenates the strings at `pointer` within the choices with this index.
pub(crate) fn joined(events: &[Value], index: usize, pointer: &str) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let wanted = choices.filter(|choice| choice["index"] == index);
    wanted.filter_map(|choice| choice.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

/// Returns the finish reasons of the choices with this index.
pub(crate) fn finishes(events: &[Value], index: usize) -> Vec<String> {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let wanted = choices.filter(|choice| choice["index"] == index);
    wanted.filter_map(|choice| choice["finish_reason"].as_str().map(str::to_owned)).collect()
}

/// The usage of [`completed`].
pub(crate) const USAGE: Usage = Usage {
    prompt_tokens: 12,
    completion_tokens: 34,
    cached_tokens: 8,
    reasoning_tokens: 5,
    ..Usage::NONE
};

/// Returns an outcome with these answers.
pub(crate) fn completed<const N: usize>(choices: [Choice; N]) -> Outcome {
    let mut choices = choices.into_iter();
    let first = choices.next().unwrap_or_default();
    let further = choices.collect();
    Outcome::Completed(Completion { first, further, usage: USAGE, ..Completion::default() })
}

/// Returns a call of a function.
pub(crate) fn call(id: &str) -> ToolCall {
    ToolCall::Function { id: id.into(), name: "add".into(), arguments: json!({"a": 1}) }
}

/// Returns tokens with their logprobs, and an alternative each.
pub(crate) fn tokens(texts: &[&str]) -> Vec<TokenLogprobs> {
    let one = |text: &str, logprob| TokenLogprob::new(text.as_bytes().to_vec(), logprob);
    let token = |text: &&str| TokenLogprobs {
        drawn: one(text, -0.31),
        top_logprobs: vec![one(text, -0.31), one("?", -1.3)],
    };
    texts.iter().map(token).collect()
}
