//! [`Answer`]: a finished answer, and [`AnswerFeed`]: an answer as it is generated, with each piece
//! exactly once, also if another attempt generates it again.

mod sent;

use protocol::{
    Choice, Completion, Event, EventBody, FinishReason, Logprobs, Outcome, TaskSnapshot,
    TokenLogprobs, ToolCall, Usage,
};

use self::sent::{Diverged, Generated, Sent, generated};
use super::{Feed, Step};
use crate::refusal::Refusal;

/// A finished answer. Text in the place of a call that could not be parsed is part of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) reasoning: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: FinishReason,
    /// The stop string that ended it, if one did.
    pub(crate) stop_sequence: Option<String>,
    pub(crate) logprobs: Option<Logprobs>,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The arguments as JSON.
    pub(crate) arguments: String,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delta {
    /// The index of the answer, if several were requested.
    pub(crate) choice: usize,
    pub(crate) piece: Piece,
    /// The logprobs of the tokens whose text begins in this piece, if requested.
    pub(crate) logprobs: Vec<TokenLogprobs>,
}

/// The content of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Reasoning(String),
    Text(String),
    Call(Call),
}

impl From<&ToolCall> for Piece {
    fn from(call: &ToolCall) -> Self {
        match call {
            ToolCall::Function { id, name, arguments } => Self::Call(Call {
                id: id.clone(),
                name: name.clone(),
                arguments: match arguments {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                },
            }),
            ToolCall::Malformed { raw, .. } => Self::Text(raw.clone()),
        }
    }
}

impl From<&Choice> for Answer {
    fn from(choice: &Choice) -> Self {
        let mut answer = Self {
            reasoning: choice.reasoning.clone().unwrap_or_default(),
            text: choice.text.clone(),
            calls: Vec::new(),
            finish: choice.finish_reason,
            stop_sequence: choice.stop_sequence.clone(),
            logprobs: choice.logprobs.clone(),
        };
        for call in &choice.tool_calls {
            match Piece::from(call) {
                Piece::Call(call) => answer.calls.push(call),
                Piece::Text(text) | Piece::Reasoning(text) => answer.text.push_str(&text),
            }
        }
        answer
    }
}

impl Answer {
    /// Returns the answer as pieces, in order.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let reasoning =
            (!self.reasoning.is_empty()).then(|| Piece::Reasoning(self.reasoning.clone()));
        let text = (!self.text.is_empty()).then(|| Piece::Text(self.text.clone()));
        let calls = self.calls.iter().cloned().map(Piece::Call);
        reasoning.into_iter().chain(text).chain(calls).collect()
    }

    /// Returns the answers in the order of their indexes and what they cost, or why there are none.
    pub(crate) fn all(snapshot: &TaskSnapshot) -> Result<(Vec<Self>, Usage), Refusal> {
        match &snapshot.outcome {
            Some(Outcome::Completed(completed)) => {
                Ok((completed.choices().map(Self::from).collect(), completed.usage))
            }
            Some(Outcome::Failed(error)) => Err(Refusal::failed(error)),
            Some(Outcome::Cancelled { .. }) => Err(Refusal::cancelled()),
            None => Err(Refusal::internal("a task ended without an outcome")),
        }
    }
}

/// A step of an answer's generation.
pub(crate) enum AnswerStep {
    /// New pieces, at least one.
    Deltas(Vec<Delta>),
    /// The answers are whole. `rest` is what no step had yet. No step follows.
    Ended { rest: Vec<Delta>, answers: Vec<Answer>, snapshot: Box<TaskSnapshot> },
    /// There will be no answer, or none that continues the pieces so far. No step follows.
    Failed(Refusal),
    /// Nothing happened for the keep-alive interval.
    Silence,
    /// The client disconnected. No step follows.
    HungUp,
}

/// Reads an answer as it is generated. If an attempt ends early, the next one starts from the
/// prompt again; with the task's fixed seed it generates the same answer, whose beginning is then
/// skipped. If it generates another one, the feed fails: two answers are never mixed.
pub(crate) struct AnswerFeed {
    feed: Feed,
    /// By the index of the answer.
    sent: Vec<Sent>,
    is_closed: bool,
}

impl AnswerFeed {
    pub(crate) fn new(feed: Feed) -> Self {
        Self { feed, sent: Vec::new(), is_closed: false }
    }

    /// Returns the next step, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<AnswerStep> {
        while !self.is_closed {
            let step = match self.feed.next().await {
                Some(Step::Events(events)) => match self.deltas(&events) {
                    Ok(deltas) if deltas.is_empty() => continue,
                    Ok(deltas) => AnswerStep::Deltas(deltas),
                    Err(refusal) => AnswerStep::Failed(refusal),
                },
                Some(Step::Ended(_, snapshot)) => match self.end(&snapshot) {
                    Ok((rest, answers)) => AnswerStep::Ended { rest, answers, snapshot },
                    Err(refusal) => AnswerStep::Failed(refusal),
                },
                Some(Step::Silence) => AnswerStep::Silence,
                Some(Step::HungUp) => AnswerStep::HungUp,
                Some(Step::Refused(refusal)) => AnswerStep::Failed(refusal),
                Some(Step::Stopping) => {
                    AnswerStep::Failed(Refusal::unavailable("the gateway stops"))
                }
                None => AnswerStep::Failed(Refusal::internal("the task disappeared")),
            };
            self.is_closed = !matches!(step, AnswerStep::Deltas(_) | AnswerStep::Silence);
            return Some(step);
        }
        None
    }

    fn deltas(&mut self, events: &[Event]) -> Result<Vec<Delta>, Refusal> {
        let mut deltas = Vec::new();
        for event in events {
            match &event.body {
                EventBody::Started { .. } => self.sent.iter_mut().for_each(Sent::restart),
                EventBody::Token { chunk, .. } => {
                    let pieces: Vec<Generated> = match &chunk.parts {
                        Some(parts) => parts.iter().map(Generated::from).collect(),
                        None => vec![Piece::Text(chunk.text.clone()).into()],
                    };
                    let choice = usize::from(chunk.choice);
                    self.sent(choice).take(choice, pieces, &chunk.logprobs, &mut deltas)?;
                }
                EventBody::Queued | EventBody::Requeued { .. } | EventBody::Ended { .. } => {}
            }
        }
        Ok(deltas)
    }

    fn sent(&mut self, choice: usize) -> &mut Sent {
        if self.sent.len() <= choice {
            self.sent.resize_with(choice + 1, Sent::default);
        }
        &mut self.sent[choice]
    }

    /// Returns what of the finished answers was not sent yet, and the answers.
    fn end(&mut self, snapshot: &TaskSnapshot) -> Result<(Vec<Delta>, Vec<Answer>), Refusal> {
        let (answers, _) = Answer::all(snapshot)?;
        let mut rest = Vec::new();
        let completed = match &snapshot.outcome {
            Some(Outcome::Completed(completed)) => Some(completed),
            _ => None,
        };
        for (index, choice) in completed.into_iter().flat_map(Completion::choices).enumerate() {
            let logprobs = choice.logprobs.as_ref().map_or(&[][..], |logprobs| &logprobs.content);
            let sent = self.sent(index);
            sent.restart();
            sent.take(index, generated(choice), logprobs, &mut rest)?;
            if !sent.is_repeated() {
                return Err(Diverged.into());
            }
        }
        Ok((rest, answers))
    }
}
