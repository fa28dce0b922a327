//! [`Sent`]: what was sent of an answer, so that another attempt sends only what is new.

use protocol::{Choice, Part, TokenLogprobs, ToolCall};

use super::{Answer, Call, Delta, Piece};
use crate::refusal::Refusal;

/// A piece as an attempt generates it. Text in the place of a call is apart, because an outcome does
/// not tell where in the answer's text it stood.
#[derive(Debug, Clone)]
pub(super) enum Generated {
    Piece(Piece),
    Malformed(String),
}

impl From<Piece> for Generated {
    fn from(piece: Piece) -> Self {
        Self::Piece(piece)
    }
}

impl From<&Part> for Generated {
    fn from(part: &Part) -> Self {
        Self::Piece(match part {
            Part::Reasoning { text } => Piece::Reasoning(text.clone()),
            Part::Text { text } | Part::ToolResult { text, .. } => Piece::Text(text.clone()),
            Part::ToolCall { call } => return Self::from(call),
            Part::Image { .. } | Part::Video { .. } => Piece::Text(String::new()),
        })
    }
}

impl From<&ToolCall> for Generated {
    fn from(call: &ToolCall) -> Self {
        match call {
            ToolCall::Malformed { raw, .. } => Self::Malformed(raw.clone()),
            call => Self::Piece(Piece::from(call)),
        }
    }
}

/// Returns a finished answer as pieces. Texts in the place of calls come last.
pub(super) fn generated(choice: &Choice) -> Vec<Generated> {
    let is_call = |call: &&ToolCall| matches!(call, ToolCall::Function { .. });
    let (calls, malformed): (Vec<_>, Vec<_>) = choice.tool_calls.iter().partition(is_call);
    let answer = Answer::from(&Choice {
        text: choice.text.clone(),
        reasoning: choice.reasoning.clone(),
        tool_calls: calls.into_iter().cloned().collect(),
        ..Choice::default()
    });
    let pieces = answer.pieces().into_iter().map(Generated::from);
    pieces.chain(malformed.into_iter().map(Generated::from)).collect()
}

/// The pieces that were sent, and the number of them that the current attempt has repeated.
#[derive(Default)]
pub(super) struct Sent {
    reasoning: Repeated,
    text: Repeated,
    calls: Repetition<Call>,
    malformed: Repetition<String>,
    logprobs: usize,
    logprobs_repeated: usize,
}

#[derive(Default)]
struct Repeated {
    sent: String,
    repeated: usize,
}

impl Repeated {
    /// Returns what is new in `text`, if anything. The error: it differs from what was sent, or is new
    /// although nothing new may come.
    fn take(&mut self, text: &str, may_grow: bool) -> Result<Option<String>, Diverged> {
        let known = &self.sent.as_bytes()[self.repeated..];
        let overlap = known.len().min(text.len());
        if known[..overlap] != text.as_bytes()[..overlap] {
            return Err(Diverged);
        }
        // Ends at a character of `text`: either all of it, or where the sent text ends.
        let new = &text[overlap..];
        if !new.is_empty() && !may_grow {
            return Err(Diverged);
        }
        self.sent.push_str(new);
        self.repeated += text.len();
        Ok((!new.is_empty()).then(|| new.to_owned()))
    }

    fn is_whole(&self) -> bool {
        self.repeated == self.sent.len()
    }
}

/// Calls that were sent, or texts in their place.
struct Repetition<T> {
    sent: Vec<T>,
    repeated: usize,
}

impl<T> Default for Repetition<T> {
    fn default() -> Self {
        Self { sent: Vec::new(), repeated: 0 }
    }
}

impl<T: Clone + PartialEq> Repetition<T> {
    /// Returns `item` if it is new. The error: another one was sent.
    fn take(&mut self, item: T) -> Result<Option<T>, Diverged> {
        let known = self.sent.get(self.repeated);
        self.repeated += 1;
        match known {
            Some(known) if *known == item => Ok(None),
            Some(_) => Err(Diverged),
            None => {
                self.sent.push(item.clone());
                Ok(Some(item))
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.repeated == self.sent.len()
    }
}

impl Sent {
    pub(super) fn restart(&mut self) {
        self.reasoning.repeated = 0;
        self.text.repeated = 0;
        self.calls.repeated = 0;
        self.malformed.repeated = 0;
        self.logprobs_repeated = 0;
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.reasoning.is_whole()
            && self.text.is_whole()
            && self.calls.is_whole()
            && self.malformed.is_whole()
    }

    /// Adds to `deltas` what was not sent before.
    pub(super) fn take(
        &mut self,
        choice: usize,
        pieces: Vec<Generated>,
        logprobs: &[TokenLogprobs],
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Diverged> {
        let first = deltas.len();
        for piece in pieces {
            let new = match piece {
                Generated::Piece(Piece::Reasoning(text)) => {
                    self.reasoning.take(&text, true).map(|new| new.map(Piece::Reasoning))
                }
                Generated::Piece(Piece::Text(text)) => {
                    self.text.take(&text, self.reasoning.is_whole()).map(|new| new.map(Piece::Text))
                }
                Generated::Piece(Piece::Call(call)) => {
                    self.calls.take(call).map(|new| new.map(Piece::Call))
                }
                Generated::Malformed(raw) => {
                    self.malformed.take(raw).map(|new| new.map(Piece::Text))
                }
            };
            deltas.extend(new?.map(|piece| Delta { choice, piece, logprobs: Vec::new() }));
        }
        let known = self.logprobs.saturating_sub(self.logprobs_repeated).min(logprobs.len());
        self.logprobs_repeated += logprobs.len();
        self.logprobs = self.logprobs.max(self.logprobs_repeated);
        if known < logprobs.len() {
            if deltas.len() == first {
                deltas.push(Delta {
                    choice,
                    piece: Piece::Text(String::new()),
                    logprobs: Vec::new(),
                });
            }
            deltas[first].logprobs = logprobs[known..].to_vec();
        }
        Ok(())
    }
}

/// An attempt generated another answer than the one that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Diverged;

impl From<Diverged> for Refusal {
    fn from(Diverged: Diverged) -> Self {
        Self::interrupted(
            "A worker was lost, and the next attempt generated another answer than the one that was \
             streamed so far. Send the request again",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn thought(text: &str) -> Piece {
        Piece::Reasoning(text.into())
    }

    fn call(name: &str) -> Piece {
        Piece::Call(Call { id: "call_1".into(), name: name.into(), arguments: "{}".into() })
    }

    fn all(pieces: &[Piece]) -> Vec<Generated> {
        pieces.iter().cloned().map(Generated::from).collect()
    }

    fn take(sent: &mut Sent, pieces: &[Piece]) -> Result<Vec<Piece>, Diverged> {
        let mut deltas = Vec::new();
        sent.take(0, all(pieces), &[], &mut deltas)?;
        Ok(deltas.into_iter().map(|delta| delta.piece).collect())
    }

    #[test]
    fn a_second_attempt_sends_only_what_is_new() {
        let mut sent = Sent::default();
        let first = [thought("Hm"), text("Grü"), text("ße")];
        assert_eq!(take(&mut sent, &first).unwrap(), first);
        sent.restart();
        assert_eq!(take(&mut sent, &[thought("H"), thought("m")]).unwrap(), []);
        assert_eq!(
            take(&mut sent, &[text("Gr"), text("üße an"), call("f")]).unwrap(),
            [text(" an"), call("f")]
        );
        assert!(sent.is_repeated());
        sent.restart();
        let whole = [thought("Hm"), text("Grüße an"), call("f")];
        assert_eq!(take(&mut sent, &whole).unwrap(), []);
        assert!(sent.is_repeated());
    }

    #[test]
    fn a_second_attempt_with_another_answer_is_refused() {
        for other in [
            [thought("Hx"), text("Yes"), call("f")],
            [thought("Hm"), text("Yed"), call("f")],
            [thought("Hm"), text("Yes"), call("g")],
            [thought("H"), text("Yes, sir"), call("f")],
        ] {
            let mut sent = Sent::default();
            take(&mut sent, &[thought("Hm"), text("Yes"), call("f")]).unwrap();
            sent.restart();
            assert_eq!(take(&mut sent, &other), Err(Diverged), "{other:?}");
        }
        let mut sent = Sent::default();
        take(&mut sent, &[text("Yes")]).unwrap();
        sent.restart();
        take(&mut sent, &[text("Y")]).unwrap();
        assert!(!sent.is_repeated(), "a shorter answer");
    }

    #[test]
    fn text_after_a_malformed_call_matches_the_outcome() {
        let malformed = ToolCall::Malformed { raw: "{".into(), error: "no JSON".into() };
        let mut sent = Sent::default();
        let mut deltas = Vec::new();
        let plain = |text: &str| Part::Text { text: text.into() };
        let parts = [plain("A"), Part::ToolCall { call: malformed.clone() }, plain("B")];
        sent.take(0, parts.iter().map(Generated::from).collect(), &[], &mut deltas).unwrap();
        let pieces: Vec<_> = deltas.drain(..).map(|delta| delta.piece).collect();
        assert_eq!(pieces, [text("A"), text("{"), text("B")]);
        sent.restart();
        let outcome =
            Choice { text: "AB".into(), tool_calls: vec![malformed], ..Choice::default() };
        sent.take(0, generated(&outcome), &[], &mut deltas).unwrap();
        assert_eq!(deltas, []);
        assert!(sent.is_repeated());
    }

    #[test]
    fn logprobs_are_sent_once() {
        let token = |text: &str| TokenLogprobs {
            drawn: protocol::TokenLogprob::new(text.into(), -0.5),
            top_logprobs: vec![],
        };
        let mut sent = Sent::default();
        let mut deltas = Vec::new();
        sent.take(0, all(&[text("ab")]), &[token("a"), token("b")], &mut deltas).unwrap();
        sent.take(0, vec![], &[token("c")], &mut deltas).unwrap();
        sent.restart();
        let tokens = ["a", "b", "c", "d"].map(token);
        sent.take(0, all(&[text("abcd")]), &tokens, &mut deltas).unwrap();
        let sent: Vec<_> = deltas.into_iter().flat_map(|delta| delta.logprobs).collect();
        assert_eq!(sent, tokens);
    }
}
