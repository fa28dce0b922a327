//! The answer of one attempt, and how much of it the queue has acknowledged.

use engine::text::{AnswerEvent, AnswerFormat, AnswerParser};
use protocol::{AnswerPart, Chunk, Logprobs, TokenLogprobs};

use crate::translate;

/// A growing answer that is published in numbered chunks. Only one chunk is in flight at a time. If
/// its reply is lost, it is sent again unchanged and with the same number, so that the queue can
/// recognize the repetition.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    /// The tokens' logprobs, if they were requested.
    logprobs: Logprobs,
    /// The answer's parts, if it is split.
    apart: Option<Apart>,
    /// The number of acknowledged chunks, and their end in the text.
    published: u64,
    published_to: usize,
    /// The end of the chunk in flight, in the text and in the parts. The queue may or may not have
    /// it.
    sent_to: Option<(usize, usize)>,
}

/// The parts of a split answer. Readers of the stream get the same parts as the outcome has.
#[derive(Debug)]
struct Apart {
    /// `None` after the end of the answer.
    parser: Option<AnswerParser>,
    /// All parts so far. Adjacent parts differ in kind, except where a chunk ended between them.
    parts: Vec<AnswerPart>,
    /// The number of parts that the queue has acknowledged.
    published: usize,
}

impl Answer {
    /// Starts splitting the answer into parts. Call it before the first token.
    pub(crate) fn tell_apart(&mut self, format: AnswerFormat) {
        let parser = Some(AnswerParser::new(format));
        self.apart = Some(Apart { parser, parts: Vec::new(), published: 0 });
    }

    /// Appends generated text and its logprobs.
    pub(crate) fn push(&mut self, text: &str, logprobs: impl Iterator<Item = TokenLogprobs>) {
        self.text.push_str(text);
        self.logprobs.content.extend(logprobs);
        if let Some(apart) = &mut self.apart
            && let Some(parser) = &mut apart.parser
        {
            let events = parser.push(text);
            apart.add(events, self.sent_to);
        }
    }

    /// Ends the answer: emits text that the parser held back.
    pub(crate) fn end(&mut self) {
        if let Some(apart) = &mut self.apart
            && let Some(parser) = apart.parser.take()
        {
            apart.add(parser.finish(), self.sent_to);
        }
    }

    /// Takes the logprobs, if they were requested, and leaves none.
    pub(crate) fn take_logprobs(&mut self) -> Logprobs {
        std::mem::take(&mut self.logprobs)
    }

    /// Returns the whole text so far, including tags.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the parts so far, or `None` if the answer is not split.
    pub(crate) fn parts(&self) -> Option<&[AnswerPart]> {
        self.apart.as_ref().map(|apart| apart.parts.as_slice())
    }

    /// Returns how many bytes of text and how many parts are not acknowledged, as one sum.
    pub(crate) fn left(&self) -> usize {
        let parts = self.apart.as_ref().map_or(0, |apart| apart.parts.len() - apart.published);
        self.text.len() - self.published_to + parts
    }

    /// Returns the next chunk and the number of chunks before it. A chunk that was not acknowledged
    /// is returned again unchanged, without later text.
    pub(crate) fn unpublished(&mut self) -> (u64, Chunk) {
        let ends = (self.text.len(), self.parts().map_or(0, <[_]>::len));
        let (cut, parts_cut) = *self.sent_to.get_or_insert(ends);
        let parts =
            self.apart.as_ref().map(|apart| apart.parts[apart.published..parts_cut].to_vec());
        (self.published, Chunk { text: self.text[self.published_to..cut].to_owned(), parts })
    }

    /// Marks the chunk that [`Self::unpublished`] last returned as acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        if let Some((cut, parts_cut)) = self.sent_to.take() {
            self.published_to = cut;
            self.published += 1;
            if let Some(apart) = &mut self.apart {
                apart.published = parts_cut;
            }
        }
    }
}

impl Apart {
    /// Adds the parser's events to the parts. A part that was already sent is not extended.
    fn add(&mut self, events: Vec<AnswerEvent>, sent_to: Option<(usize, usize)>) {
        let fixed = sent_to.map_or(self.published, |(_, parts)| parts);
        for event in events {
            let open = if self.parts.len() > fixed { self.parts.last_mut() } else { None };
            match (open, translate::part(event)) {
                (Some(AnswerPart::Text { text }), AnswerPart::Text { text: more })
                | (Some(AnswerPart::Reasoning { text }), AnswerPart::Reasoning { text: more }) => {
                    text.push_str(&more);
                }
                (_, part) => self.parts.push(part),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Receives chunks as a queue does: ignores repetitions.
    fn take(taken: &mut Vec<Chunk>, (from, chunk): (u64, Chunk)) {
        if taken.len() as u64 == from {
            taken.push(chunk);
        }
    }

    fn text_of(taken: &[Chunk]) -> String {
        taken.iter().map(|chunk| chunk.text.as_str()).collect()
    }

    #[test]
    fn no_text_is_told_twice_or_lost_when_replies_and_requests_are() {
        // Tries every pattern of six sends, each of which arrives and is acknowledged (0), arrives
        // without an acknowledgement (1), or is lost (2).
        for pattern in 0..3_u32.pow(6) {
            let mut answer = Answer::default();
            let mut taken = Vec::new();
            for send in 0..6 {
                answer.push(&format!("<{send}>"), iter::empty());
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
    fn nothing_new_is_nothing_to_publish() {
        let mut answer = Answer::default();
        assert_eq!(answer.left(), 0);
        answer.push("a", iter::empty());
        assert_eq!(answer.unpublished(), (0, "a".into()));
        assert_eq!(answer.left(), 1, "not acknowledged yet");
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
    }

    #[test]
    fn a_tag_is_held_back_until_it_is_one() {
        let mut answer = Answer::default();
        answer.tell_apart(AnswerFormat {
            reasoning: true,
            begins_in_reasoning: false,
            tools: true,
        });
        let mut told = |text: &str| {
            answer.push(text, iter::empty());
            let (_, chunk) = answer.unpublished();
            answer.acknowledged();
            chunk.parts.unwrap()
        };
        let text = |text: &str| AnswerPart::Text { text: text.to_owned() };
        assert_eq!(told("<thi"), []);
        assert_eq!(told("nk>why"), [AnswerPart::Reasoning { text: "why".to_owned() }]);
        assert_eq!(told("</think>so"), [text("so")]);
        assert_eq!(told(" <too"), []);
        assert_eq!(told("th>"), [text(" <tooth>")]);
        assert_eq!(told("<tool_call>{\"name\": "), []);
        let calls = told("\"f\"}</tool_call><tool_call>{");
        assert!(matches!(&calls[..], [AnswerPart::ToolCall { .. }]), "{calls:?}");
        // Text that was held back is emitted at the end.
        assert_eq!(answer.left(), 0);
        answer.end();
        assert_eq!(answer.left(), 1);
        let (_, last) = answer.unpublished();
        assert_eq!(last.text, "");
        let parts = last.parts.unwrap();
        let is_malformed = |part: &AnswerPart| matches!(part, AnswerPart::ToolCall { call: protocol::ToolCall::Malformed { raw, .. } } if raw == "{");
        assert!(parts.len() == 1 && is_malformed(&parts[0]), "{parts:?}");
    }

    #[test]
    fn readers_hear_of_what_the_outcome_is_made_of_however_it_is_cut_and_lost() {
        let text = "<think>\nHm, 1 < 2.\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"f\", \
                    \"arguments\": {\"a\": [1]}}\n</tool_call>\n<tool_call>no JSON</tool_call> and é <tool";
        let format = AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true };
        let whole = {
            let mut answer = Answer::default();
            answer.tell_apart(format);
            answer.push(text, iter::empty());
            answer.end();
            answer.parts().unwrap().to_vec()
        };
        assert_eq!(whole.len(), 5, "{whole:?}");
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut answer = Answer::default();
            answer.tell_apart(format);
            let mut taken = Vec::new();
            let mut chars = text.chars().peekable();
            while chars.peek().is_some() {
                let piece: String = chars.by_ref().take(random.random_range(1..12)).collect();
                answer.push(&piece, iter::empty());
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

    /// Joins adjacent parts of the same kind, except calls.
    fn joined(parts: impl Iterator<Item = AnswerPart>) -> Vec<AnswerPart> {
        let mut all: Vec<AnswerPart> = Vec::new();
        for part in parts {
            match (all.last_mut(), part) {
                (Some(AnswerPart::Text { text }), AnswerPart::Text { text: more })
                | (Some(AnswerPart::Reasoning { text }), AnswerPart::Reasoning { text: more }) => {
                    text.push_str(&more);
                }
                (_, part) => all.push(part),
            }
        }
        all
    }
}
