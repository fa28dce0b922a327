//! Formats whole completions.

use protocol::{FinishReason, ModelId, TaskId, TaskSnapshot, TokenLogprob, TokenLogprobs, Usage};
use serde_json::{Map, Value, json};

use super::super::FINGERPRINT;
use super::super::usage::UsageReply;
use crate::follow::answer::Answer;
use crate::refusal::Refusal;

/// The fields of a request that its response's form depends on.
#[derive(Debug)]
pub(super) struct CompletionReply {
    pub(super) model: ModelId,
    /// The number of completions of each prompt.
    pub(super) n: usize,
    /// The text that precedes the completions of each prompt; empty if it was not requested.
    pub(super) echo: Vec<String>,
}

impl CompletionReply {
    /// Formats the ended tasks of all prompts.
    pub(super) fn whole(&self, ended: &[TaskSnapshot]) -> Result<Value, Refusal> {
        let mut choices = Vec::with_capacity(ended.len() * self.n);
        let mut usage = Usage::default();
        for (prompt, snapshot) in ended.iter().enumerate() {
            let (answers, used) = Answer::all(snapshot)?;
            usage += used;
            for (choice, answer) in answers.iter().enumerate() {
                let logprobs = answer.logprobs.as_ref();
                let text = format!("{}{}", self.echoed(prompt), answer.text);
                choices.push(json!({
                    "index": self.index(prompt, choice),
                    "text": text,
                    "logprobs": logprobs.map(|logprobs| self::logprobs(&logprobs.content, &mut 0)),
                    "finish_reason": finish_reason(answer.finish),
                }));
            }
        }
        let first = ended.first().ok_or_else(|| Refusal::internal("no task has ended"))?;
        Ok(json!({
            "id": completion_id(first.task.id),
            "object": "text_completion",
            "created": first.submitted_at.as_millis() / 1000,
            "model": self.model,
            "choices": choices,
            "usage": UsageReply::from(usage),
            "system_fingerprint": FINGERPRINT,
        }))
    }

    /// Returns the index of a prompt's completion among all.
    pub(super) fn index(&self, prompt: usize, choice: usize) -> usize {
        prompt * self.n + choice
    }

    /// Returns the text that precedes a prompt's completions.
    pub(super) fn echoed(&self, prompt: usize) -> &str {
        self.echo.get(prompt).map_or("", String::as_str)
    }
}

/// Returns the id of a response, from the id of its first task.
pub(super) fn completion_id(task_id: TaskId) -> String {
    format!("cmpl-{}", task_id.to_string().replace('-', ""))
}

/// Returns why a completion ended.
pub(super) fn finish_reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Length => "length",
        FinishReason::Stop => "stop",
    }
}

/// Formats logprobs as completions have them: in parallel arrays. `offset` is the place of the first
/// token in the text, in characters, and then that of the next.
pub(super) fn logprobs(tokens: &[TokenLogprobs], offset: &mut usize) -> Value {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(*offset);
        // A character counts where it begins, so that tokens with parts of one add up.
        *offset += token.drawn.bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    }
    let top = |token: &TokenLogprobs| -> Map<String, Value> {
        // The drawn token is always among them.
        let all = token.top_logprobs.iter().chain([&token.drawn]);
        all.map(|one| (name(one), json!(one.logprob))).collect()
    };
    json!({
        "tokens": tokens.iter().map(|token| name(&token.drawn)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.drawn.logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// Returns a token's text, or its bytes if they are no whole characters: `bytes:\xe2\x82`, as OpenAI
/// names them.
fn name(token: &TokenLogprob) -> String {
    match std::str::from_utf8(&token.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes = token.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", bytes.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprobs_are_parallel_arrays_with_offsets_in_characters() {
        let token = |bytes: &[u8], top: &[&str]| TokenLogprobs {
            drawn: TokenLogprob::new(bytes.to_vec(), -0.5),
            top_logprobs: top
                .iter()
                .map(|text| TokenLogprob::new(text.as_bytes().to_vec(), -0.25))
                .collect(),
        };
        let euro = "€".as_bytes();
        let tokens = [
            token("é".as_bytes(), &["a"]),
            token(&euro[..2], &[]),
            token(&euro[2..], &[]),
            token(b"b", &["b"]),
        ];
        let mut offset = 3;
        assert_eq!(
            logprobs(&tokens, &mut offset),
            json!({
                "tokens": ["é", r"bytes:\xe2\x82", r"bytes:\xac", "b"],
                "token_logprobs": [-0.5, -0.5, -0.5, -0.5],
                "top_logprobs": [
                    {"a": -0.25, "é": -0.5}, {r"bytes:\xe2\x82": -0.5}, {r"bytes:\xac": -0.5}, {"b": -0.5},
                ],
                "text_offset": [3, 4, 5, 5],
            })
        );
        assert_eq!(offset, 6);
    }
}
