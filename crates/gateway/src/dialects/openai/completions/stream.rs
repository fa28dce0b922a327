//! Streams completions as chunks: those of all prompts in one stream, as they are generated.

use std::mem;

use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt;
use futures::stream::{self, LocalBoxStream, SelectAll};
use protocol::{EventSeq, TaskId, Timestamp, TokenLogprobs, Usage};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::sse::{self, Frames};
use super::super::usage::UsageReply;
use super::super::{FINGERPRINT, error};
use super::reply::{CompletionReply, completion_id, finish_reason, logprobs};
use crate::follow::answer::{AnswerFeed, AnswerStep, Delta, Piece};
use crate::follow::{Attended, Call, Feed};
use crate::hangup::ClientEnd;
use crate::refusal::Refusal;

/// A chunk of completions.
#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Value],
    /// Missing if no usage was requested, `null` in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageReply>>,
}

/// A step of a prompt's answers, with the index of the prompt.
type PromptStep = (usize, AnswerStep);

/// A stream that is being written.
struct CompletionStream {
    steps: SelectAll<LocalBoxStream<'static, PromptStep>>,
    /// The tasks, by prompt.
    attended: Vec<Attended>,
    /// The number of tasks that have not ended.
    pending: usize,
    /// The step that came before the response began.
    first: Option<PromptStep>,
    id: String,
    created: u64,
    reply: CompletionReply,
    include_usage: bool,
    /// Whether the echo was written, and the characters of tokens with logprobs, by the index of the
    /// completion.
    written: Vec<(bool, usize)>,
    usage: Usage,
    is_over: bool,
}

/// Streams the completions. Waits for the first piece, so that a task that fails before has the
/// status of its error, but no longer than the keep-alive interval.
pub(super) async fn respond(
    request: &HttpRequest,
    call: Call,
    reply: CompletionReply,
    include_usage: bool,
) -> Result<HttpResponse, Refusal> {
    let Call { state, head, attended, others, .. } = call;
    let task_id = head.submitted.task_id;
    let tasks: Vec<(TaskId, Attended)> =
        std::iter::once((task_id, attended)).chain(others).collect();
    let (task_ids, attended): (Vec<TaskId>, Vec<Attended>) = tasks.into_iter().unzip();
    let steps = task_ids.into_iter().enumerate().map(|(prompt, task_id)| {
        let client = ClientEnd::of(request);
        let feed = AnswerFeed::new(Feed::new(state.clone(), task_id, EventSeq::START, client));
        let steps = stream::unfold(feed, move |mut feed| async move {
            let step = feed.next().await?;
            Some(((prompt, step), feed))
        });
        steps.boxed_local()
    });
    let mut steps = stream::select_all(steps);
    let first = match steps.next().await {
        Some((_, AnswerStep::Failed(refusal))) => return Err(refusal),
        Some((_, AnswerStep::HungUp)) => return Err(Refusal::client_gone()),
        first => first,
    };
    let stream = CompletionStream {
        steps,
        pending: attended.len(),
        first,
        id: completion_id(task_id),
        created: Timestamp::now().as_millis() / 1000,
        written: vec![(false, 0); reply.index(attended.len(), 0)],
        attended,
        reply,
        include_usage,
        usage: Usage::default(),
        is_over: false,
    };
    Ok(sse::respond(head.response(), stream))
}

impl Frames for CompletionStream {
    async fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        let (prompt, step) = match self.first.take() {
            Some(first) => first,
            None => self.steps.next().await?,
        };
        let mut frames = String::new();
        match step {
            AnswerStep::Deltas(deltas) => self.push_deltas(&mut frames, prompt, deltas),
            AnswerStep::Silence => frames.push_str(sse::KEEP_ALIVE),
            AnswerStep::Ended { rest, answers, snapshot } => {
                if let Some(attended) = self.attended.get_mut(prompt) {
                    attended.release();
                }
                self.push_deltas(&mut frames, prompt, rest);
                for (choice, answer) in answers.iter().enumerate() {
                    self.push_echo(&mut frames, prompt, choice);
                    let reason = finish_reason(answer.finish);
                    self.push(
                        &mut frames,
                        self.reply.index(prompt, choice),
                        "",
                        None,
                        Some(reason),
                    );
                }
                self.usage += snapshot.outcome.map(|end| end.usage()).unwrap_or_default();
                self.pending -= 1;
                if self.pending == 0 {
                    self.end(&mut frames);
                }
            }
            AnswerStep::Failed(refusal) => {
                sse::push(&mut frames, &json!({ "error": error::error(&refusal) }));
                frames.push_str(sse::DONE);
                self.is_over = true;
            }
            AnswerStep::HungUp => return None,
        }
        Some(frames)
    }
}

impl CompletionStream {
    fn end(&mut self, frames: &mut String) {
        if self.include_usage {
            self.push_chunk(frames, &[], Some(Some(self.usage.into())));
        }
        frames.push_str(sse::DONE);
        self.is_over = true;
    }

    fn push_echo(&mut self, frames: &mut String, prompt: usize, choice: usize) {
        let index = self.reply.index(prompt, choice);
        let Some((has_echo, _)) = self.written.get_mut(index) else { return };
        if !mem::replace(has_echo, true) && !self.reply.echoed(prompt).is_empty() {
            self.push(frames, index, self.reply.echoed(prompt), None, None);
        }
    }

    fn push_deltas(&mut self, frames: &mut String, prompt: usize, deltas: Vec<Delta>) {
        for Delta { choice, piece, logprobs: tokens } in deltas {
            self.push_echo(frames, prompt, choice);
            let index = self.reply.index(prompt, choice);
            // A model that thinks before an answer with a format is the only one that sends other
            // pieces, and they are not part of the text.
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Reasoning(_) | Piece::Call(_) => continue,
            };
            let logprobs = self.logprobs(index, &tokens);
            self.push(frames, index, &text, logprobs, None);
        }
    }

    fn logprobs(&mut self, index: usize, tokens: &[TokenLogprobs]) -> Option<Value> {
        let (_, offset) = self.written.get_mut(index)?;
        (!tokens.is_empty()).then(|| logprobs(tokens, offset))
    }

    fn push(
        &self,
        frames: &mut String,
        index: usize,
        text: &str,
        logprobs: Option<Value>,
        finish_reason: Option<&'static str>,
    ) {
        let choice = json!({
            "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason,
        });
        self.push_chunk(frames, &[choice], self.include_usage.then_some(None));
    }

    fn push_chunk(
        &self,
        frames: &mut String,
        choices: &[Value],
        usage: Option<Option<UsageReply>>,
    ) {
        sse::push(
            frames,
            &Chunk {
                id: &self.id,
                object: "text_completion",
                created: self.created,
                model: self.reply.model.as_str(),
                system_fingerprint: FINGERPRINT,
                choices,
                usage,
            },
        );
    }
}
