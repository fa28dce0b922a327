//! Streams a chat completion as chunks.

use std::mem;

use actix_web::HttpResponse;
use protocol::{ModelId, Task, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::sse::{self, Frames};
use super::super::usage::UsageReply;
use super::super::{FINGERPRINT, error};
use super::reply::{LogprobsReply, completion_id, finish_reason, skill};
use crate::follow::answer::{AnswerStep, Delta, Piece};
use crate::follow::{AnswerStream, Call};
use crate::refusal::Refusal;

/// A chunk of a completion.
#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: &'a [Choice<'a>],
    /// Missing if no usage was requested, `null` in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageReply>>,
    /// What a skill read in the answer; in the chunks that end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    skill: Option<&'a Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    delta: Value,
    logprobs: Option<LogprobsReply<'a>>,
    finish_reason: Option<&'static str>,
}

/// The state of a choice's part of the stream.
#[derive(Clone, Default)]
struct Written {
    has_role: bool,
    calls: usize,
}

/// A stream that is being written.
struct ChatStream {
    answer: AnswerStream,
    id: String,
    created: u64,
    model: ModelId,
    include_usage: bool,
    /// What a skill read in the answer, while the chunks that end it are written.
    skill: Option<Value>,
    /// By the index of the answer.
    written: Vec<Written>,
}

/// Streams the answer.
pub(super) async fn respond(
    call: Call,
    model: ModelId,
    include_usage: bool,
) -> Result<HttpResponse, Refusal> {
    let (head, answer) = AnswerStream::open(call).await?;
    let stream = ChatStream {
        answer,
        id: completion_id(head.submitted.task_id),
        created: Timestamp::now().as_millis() / 1000,
        model,
        include_usage,
        skill: None,
        written: vec![Written::default(); usize::from(Task::MAX_N)],
    };
    Ok(sse::respond(head.response(), stream))
}

impl Frames for ChatStream {
    async fn next(&mut self) -> Option<String> {
        let mut frames = String::new();
        match self.answer.next().await? {
            AnswerStep::Deltas(deltas) => self.push_deltas(&mut frames, &deltas),
            AnswerStep::Silence => frames.push_str(sse::KEEP_ALIVE),
            AnswerStep::Ended { rest, answers, snapshot } => {
                self.push_deltas(&mut frames, &rest);
                self.skill = skill(&snapshot);
                for (index, answer) in answers.iter().enumerate() {
                    self.push_role(&mut frames, index);
                    let reason = finish_reason(answer.finish, !answer.calls.is_empty());
                    self.push(&mut frames, index, json!({}), &[], Some(reason));
                }
                self.skill = None;
                if self.include_usage {
                    let usage = snapshot.outcome.map(|outcome| outcome.usage()).unwrap_or_default();
                    self.push_chunk(&mut frames, &[], Some(Some(usage.into())));
                }
                frames.push_str(sse::DONE);
            }
            AnswerStep::Failed(refusal) => {
                sse::push(&mut frames, &json!({ "error": error::error(&refusal) }));
                frames.push_str(sse::DONE);
            }
            AnswerStep::HungUp => return None,
        }
        Some(frames)
    }
}

impl ChatStream {
    fn push_role(&mut self, frames: &mut String, choice: usize) {
        let written = self.written.get_mut(choice);
        if written.is_some_and(|written| !mem::replace(&mut written.has_role, true)) {
            let delta = json!({"role": "assistant", "content": "", "refusal": null});
            self.push(frames, choice, delta, &[], None);
        }
    }

    fn push_deltas(&mut self, frames: &mut String, deltas: &[Delta]) {
        for Delta { choice, piece, logprobs } in deltas {
            let choice = *choice;
            self.push_role(frames, choice);
            match piece {
                Piece::Text(text) => {
                    self.push(frames, choice, json!({"content": text}), logprobs, None)
                }
                Piece::Reasoning(text) => {
                    let delta = json!({"reasoning_content": text, "reasoning": text});
                    self.push(frames, choice, delta, logprobs, None);
                }
                Piece::Call(call) => {
                    let Some(written) = self.written.get_mut(choice) else { continue };
                    let index = written.calls;
                    written.calls += 1;
                    let begin = json!({"tool_calls": [{
                        "index": index, "id": call.id, "type": "function",
                        "function": {"name": call.name, "arguments": ""},
                    }]});
                    self.push(frames, choice, begin, logprobs, None);
                    let arguments = json!({"tool_calls": [{
                        "index": index, "function": {"arguments": call.arguments},
                    }]});
                    self.push(frames, choice, arguments, &[], None);
                }
            }
        }
    }

    fn push(
        &self,
        frames: &mut String,
        index: usize,
        delta: Value,
        logprobs: &[protocol::TokenLogprobs],
        finish_reason: Option<&'static str>,
    ) {
        let logprobs =
            (!logprobs.is_empty()).then_some(LogprobsReply { content: logprobs, refusal: None });
        let choice = Choice { index, delta, logprobs, finish_reason };
        self.push_chunk(frames, &[choice], self.include_usage.then_some(None));
    }

    fn push_chunk(
        &self,
        frames: &mut String,
        choices: &[Choice<'_>],
        usage: Option<Option<UsageReply>>,
    ) {
        sse::push(
            frames,
            &Chunk {
                id: &self.id,
                object: "chat.completion.chunk",
                created: self.created,
                model: self.model.as_str(),
                service_tier: "default",
                system_fingerprint: FINGERPRINT,
                choices,
                usage,
                skill: self.skill.as_ref(),
            },
        );
    }
}
