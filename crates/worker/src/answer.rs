//! The answer of one attempt, and how much of it the queue has acknowledged.

use chat::{Logprobs, Part, TokenLogprobs};
use engine::text::{AnswerFormat, AnswerParser};
use protocol::{Chunk, TaskId};

/// A growing answer that is published in numbered chunks. Only one chunk is in flight at a time. If
/// its reply is lost, it is sent again unchanged and with the same number, so that the queue can
/// recognize the repetition.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    /// The tokens' logprobs, if they were requested.
    logprobs: Logprobs,
    /// The answer's parts, if it is split.
    apart: Option<SplitAnswer>,
    /// The number of acknowledged chunks, and where they end.
    published: u64,
    published_to: Ends,
    /// The end of the chunk in flight. The queue may or may not have it.
    sent_to: Option<Ends>,
}

/// A position in an answer: in its text, its parts and its logprobs.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    text: usize,
    parts: usize,
    logprobs: usize,
}

/// The parts of a split answer. Readers of the stream get the same parts as the outcome has.
#[derive(Debug)]
struct SplitAnswer {
    /// `None` after the end of the answer.
    parser: Option<AnswerParser>,
    /// All parts so far. Adjacent parts differ in kind, except where a chunk ended between them.
    parts: Vec<Part>,
    /// Begins the ids of the answer's calls; their number follows.
    call_id: String,
    calls: usize,
}

impl Answer {
    /// Starts splitting the answer into parts. Call it before the first token.
    ///
    /// The ids of calls are derived from the task's id, so that the stream and the outcome have the same.
    pub(crate) fn start_splitting(&mut self, format: AnswerFormat, task: TaskId) {
        let parser = Some(AnswerParser::new(format));
        // The last half of a UUIDv7 is random.
        let call_id = format!("call_{:016x}", task.as_uuid().as_u64_pair().1);
        self.apart = Some(SplitAnswer { parser, parts: Vec::new(), call_id, calls: 0 });
    }

    /// Appends generated text and its logprobs.
    pub(crate) fn push(&mut self, text: &str, logprobs: Vec<TokenLogprobs>) {
        self.text.push_str(text);
        self.logprobs.content.extend(logprobs);
        let fixed = self.fixed_parts();
        if let Some(apart) = &mut self.apart
            && let Some(parser) = &mut apart.parser
        {
            let events = parser.push(text);
            apart.add(events, fixed);
        }
    }

    /// Ends the answer: emits text that the parser held back.
    pub(crate) fn end(&mut self) {
        let fixed = self.fixed_parts();
        if let Some(apart) = &mut self.apart
            && let Some(parser) = apart.parser.take()
        {
            apart.add(parser.finish(), fixed);
        }
    }

    /// Returns the number of parts that were sent, so that they can't be extended.
    fn fixed_parts(&self) -> usize {
        self.sent_to.unwrap_or(self.published_to).parts
    }

    /// Returns the logprobs so far, if they were requested.
    pub(crate) fn logprobs(&self) -> &Logprobs {
        &self.logprobs
    }

    /// Returns the whole text so far, including tags.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the parts so far, or `None` if the answer is not split.
    pub(crate) fn parts(&self) -> Option<&[Part]> {
        self.apart.as_ref().map(|apart| apart.parts.as_slice())
    }

    /// Returns how many bytes of text, parts and logprobs are not acknowledged, as one sum.
    pub(crate) fn left(&self) -> usize {
        let (ends, published) = (self.ends(), self.published_to);
        (ends.text - published.text)
            + (ends.parts - published.parts)
            + (ends.logprobs - published.logprobs)
    }

    fn ends(&self) -> Ends {
        Ends {
            text: self.text.len(),
            parts: self.parts().map_or(0, <[_]>::len),
            logprobs: self.logprobs.content.len(),
        }
    }

    /// Returns the next chunk and the number of chunks before it. A chunk that was not acknowledged
    /// is returned again unchanged, without later text.
    pub(crate) fn unpublished(&mut self) -> (u64, Chunk) {
        let (from, ends) = (self.published_to, self.ends());
        let to = *self.sent_to.get_or_insert(ends);
        let chunk = Chunk {
            text: self.text[from.text..to.text].to_owned(),
            parts: self.parts().map(|parts| parts[from.parts..to.parts].to_vec()),
            logprobs: self.logprobs.content[from.logprobs..to.logprobs].to_vec(),
        };
        (self.published, chunk)
    }

    /// Marks the chunk that [`Self::unpublished`] last returned as acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        if let Some(to) = self.sent_to.take() {
            self.published_to = to;
            self.published += 1;
        }
    }
}

impl SplitAnswer {
    /// Adds the parser's events to the parts. The first `fixed` parts are not extended.
    fn add(&mut self, events: Vec<Part>, fixed: usize) {
        for event in events {
            let open = if self.parts.len() > fixed { self.parts.last_mut() } else { None };
            match (open, event) {
                (Some(Part::Text { text }), Part::Text { text: more })
                | (Some(Part::Reasoning { text }), Part::Reasoning { text: more }) => {
                    text.push_str(&more);
                }
                (_, Part::ToolCall { call }) => {
                    let id = format!("{}{}", self.call_id, self.calls);
                    self.calls += 1;
                    self.parts.push(Part::ToolCall { call: call.with_id(id) });
                }
                (_, part) => self.parts.push(part),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Receives chunks as a queue does: ignores repetitions.
    fn take(taken: &mut Vec<Chunk>, (from, chunk): (u64, Chunk)) {
        if taken.len() as u64 == from {
            taken.push(chunk);
        }
    }

    fn task() -> TaskId {
        "0192f0c1-2345-7abc-8def-0123456789ab".parse().unwrap()
    }

    fn text_of(taken: &[Chunk]) -> String {
        taken.iter().map(|chunk| chunk.text.as_str()).collect()
    }

    #[test]
    fn text_is_published_exactly_once_despite_lost_messages() {
        // Tries every pattern of six sends, each of which arrives and is acknowledged (0), arrives
        // without an acknowledgement (1), or is lost (2).
        for pattern in 0..3_u32.pow(6) {
            let mut answer = Answer::default();
            let mut taken = Vec::new();
            for send in 0..6 {
                answer.push(&format!("<{send}>"), Vec::new());
                let sent = answer.unpublished();
                match pattern / 3_u32.pow(send) % 3 {
                    0 => {
                        take(&mut taken, sent);
                        answer.acknowledged();
                    }
                    1 => take(&mut taken, sent),
                    _ => {}
                }
            }
            while answer.left() > 0 {
                take(&mut taken, answer.unpublished());
                answer.acknowledged();
            }
            assert_eq!(text_of(&taken), "<0><1><2><3><4><5>", "pattern {pattern}");
            assert_eq!(answer.text(), "<0><1><2><3><4><5>");
            assert!(taken.iter().all(|chunk| chunk.parts.is_none()));
        }
    }

    #[test]
    fn acknowledged_answer_has_nothing_left_to_publish() {
        let mut answer = Answer::default();
        assert_eq!(answer.left(), 0);
        answer.push("a", Vec::new());
        assert_eq!(answer.unpublished(), (0, "a".into()));
        assert_eq!(answer.left(), 1, "not acknowledged yet");
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
    }

    #[test]
    fn partial_tag_is_held_back_until_complete() {
        let mut answer = Answer::default();
        answer.start_splitting(
            AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true },
            task(),
        );
        let mut told = |text: &str| {
            answer.push(text, Vec::new());
            let (_, chunk) = answer.unpublished();
            answer.acknowledged();
            chunk.parts.unwrap()
        };
        let text = |text: &str| Part::Text { text: text.to_owned() };
        assert_eq!(told("<thi"), []);
        assert_eq!(told("nk>why"), [Part::Reasoning { text: "why".to_owned() }]);
        assert_eq!(told("</think>so"), [text("so")]);
        assert_eq!(told(" <too"), []);
        assert_eq!(told("th>"), [text(" <tooth>")]);
        assert_eq!(told("<tool_call>{\"name\": "), []);
        let calls = told("\"f\"}</tool_call><tool_call>{");
        let id = |call: &Part| match call {
            Part::ToolCall { call: chat::ToolCall::Function { id, .. } } => id.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(calls.iter().map(id).collect::<Vec<_>>(), ["call_8def0123456789ab0"]);
        // Text that was held back is emitted at the end.
        assert_eq!(answer.left(), 0);
        answer.end();
        assert_eq!(answer.left(), 1);
        let (_, last) = answer.unpublished();
        assert_eq!(last.text, "");
        let parts = last.parts.unwrap();
        let is_malformed = |part: &Part| matches!(part, Part::ToolCall { call: chat::ToolCall::Malformed { raw, .. } } if raw == "{");
        assert!(parts.len() == 1 && is_malformed(&parts[0]), "{parts:?}");
    }

    #[test]
    fn published_parts_equal_the_outcome_despite_splits_and_losses() {
        let text = "<think>\nHm, 1 < 2.\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"f\", \
                    \"arguments\": {\"a\": [1]}}\n</tool_call>\n<tool_call>no JSON</tool_call> and é <tool";
        let format = AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true };
        let whole = {
            let mut answer = Answer::default();
            answer.start_splitting(format, task());
            answer.push(text, Vec::new());
            answer.end();
            answer.parts().unwrap().to_vec()
        };
        assert_eq!(whole.len(), 5, "{whole:?}");
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut answer = Answer::default();
            answer.start_splitting(format, task());
            let mut taken = Vec::new();
            let mut chars = text.chars().peekable();
            while chars.peek().is_some() {
                let piece: String = chars.by_ref().take(random.random_range(1..12)).collect();
                answer.push(&piece, Vec::new());
                match random.random_range(0..4) {
                    0 => {
                        take(&mut taken, answer.unpublished());
                        answer.acknowledged();
                    }
                    1 => take(&mut taken, answer.unpublished()),
                    2 => drop(answer.unpublished()),
                    _ => {}
                }
            }
            answer.end();
            while answer.left() > 0 {
                take(&mut taken, answer.unpublished());
                answer.acknowledged();
            }
            assert_eq!(text_of(&taken), text);
            let told = joined(taken.into_iter().flat_map(|chunk| chunk.parts.unwrap()));
            assert_eq!(told, whole);
            assert_eq!(joined(answer.parts().unwrap().iter().cloned()), whole);
        }
    }

    #[test]
    fn logprobs_are_published_once_with_their_text() {
        let one = |text: &str| TokenLogprobs {
            drawn: chat::TokenLogprob::new(text.into(), -1.0),
            top_logprobs: vec![],
        };
        let mut answer = Answer::default();
        answer.push("a", vec![one("a")]);
        let (_, lost) = answer.unpublished();
        assert_eq!((lost.text.as_str(), &lost.logprobs[..]), ("a", &[one("a")][..]));
        answer.push("b", vec![one("b"), one("")]);
        assert_eq!(answer.unpublished().1, lost, "the same again");
        answer.acknowledged();
        assert_eq!(answer.left(), 3);
        let (_, next) = answer.unpublished();
        assert_eq!((next.text.as_str(), &next.logprobs[..]), ("b", &[one("b"), one("")][..]));
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
        assert_eq!(answer.logprobs().content.len(), 3);
    }

    /// Joins adjacent parts of the same kind, except calls.
    fn joined(parts: impl Iterator<Item = Part>) -> Vec<Part> {
        let mut all: Vec<Part> = Vec::new();
        for part in parts {
            match (all.last_mut(), part) {
                (Some(Part::Text { text }), Part::Text { text: more })
                | (Some(Part::Reasoning { text }), Part::Reasoning { text: more }) => {
                    text.push_str(&more);
                }
                (_, part) => all.push(part),
            }
        }
        all
    }
}
