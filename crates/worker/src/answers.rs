//! The answers of one attempt, and how much of them the queue has acknowledged.

use protocol::Chunk;

use crate::answer::Answer;

/// The growing answers of an attempt, whose chunks have common numbers. If a reply to chunks is lost, they are sent
/// again unchanged and with the same numbers, so that the queue can recognize the repetition.
#[derive(Debug)]
pub(crate) struct Answers {
    choices: Vec<Answer>,
    /// The number of acknowledged chunks.
    published: u64,
}

impl Answers {
    /// Creates `count` empty answers.
    pub(crate) fn new(count: usize) -> Self {
        let choices = std::iter::repeat_with(Answer::default).take(count).collect();
        Self { choices, published: 0 }
    }

    /// Returns an answer by its index.
    pub(crate) fn choice(&mut self, index: usize) -> &mut Answer {
        &mut self.choices[index]
    }

    /// Returns how many bytes of text, parts and logprobs are not acknowledged, as one sum.
    pub(crate) fn left(&self) -> usize {
        self.choices.iter().map(Answer::left).sum()
    }

    /// Returns the next chunks, at most one of each answer, and the number of chunks before them. Chunks that were
    /// not acknowledged are returned again unchanged, without later text.
    pub(crate) fn unpublished(&mut self) -> (u64, Vec<Chunk>) {
        let repeats = self.choices.iter().any(Answer::is_sent);
        let is_due = |answer: &Answer| if repeats { answer.is_sent() } else { answer.left() > 0 };
        let due = (0..).zip(&mut self.choices).filter(|(_, answer)| is_due(answer));
        let chunks = due.map(|(choice, answer)| Chunk { choice, ..answer.unpublished() });
        (self.published, chunks.collect())
    }

    /// Marks the chunks that [`Self::unpublished`] last returned as acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        for answer in &mut self.choices {
            self.published += u64::from(answer.acknowledged());
        }
    }
}

#[cfg(test)]
mod tests {
    use chat::{Part, TokenLogprobs};
    use engine::text::AnswerFormat;
    use protocol::TaskId;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Receives chunks as a queue does: ignores repetitions.
    fn take(taken: &mut Vec<Chunk>, (from, chunks): (u64, Vec<Chunk>)) {
        assert!(from <= taken.len() as u64, "chunks are missing");
        let known = taken.len() - from as usize;
        taken.extend(chunks.into_iter().skip(known));
    }

    /// Returns the only chunk.
    fn only((from, chunks): (u64, Vec<Chunk>)) -> (u64, Chunk) {
        let [chunk] = <[Chunk; 1]>::try_from(chunks).unwrap();
        (from, chunk)
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
            let mut answer = Answers::new(1);
            let mut taken = Vec::new();
            for send in 0..6 {
                answer.choice(0).push(&format!("<{send}>"), Vec::new());
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
            assert_eq!(answer.choice(0).text(), "<0><1><2><3><4><5>");
            assert!(taken.iter().all(|chunk| chunk.parts.is_none()));
        }
    }

    #[test]
    fn acknowledged_answer_has_nothing_left_to_publish() {
        let mut answer = Answers::new(1);
        assert_eq!(answer.left(), 0);
        answer.choice(0).push("a", Vec::new());
        assert_eq!(only(answer.unpublished()), (0, "a".into()));
        assert_eq!(answer.left(), 1, "not acknowledged yet");
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
    }

    #[test]
    fn partial_tag_is_held_back_until_complete() {
        let mut answer = Answers::new(1);
        answer.choice(0).start_splitting(
            AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true },
            &[],
            task(),
            0,
        );
        let mut told = |text: &str| {
            answer.choice(0).push(text, Vec::new());
            let (_, chunk) = only(answer.unpublished());
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
        answer.choice(0).end();
        assert_eq!(answer.left(), 1);
        let (_, last) = only(answer.unpublished());
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
            let mut answer = Answers::new(1);
            answer.choice(0).start_splitting(format, &[], task(), 0);
            answer.choice(0).push(text, Vec::new());
            answer.choice(0).end();
            answer.choice(0).parts().unwrap().to_vec()
        };
        assert_eq!(whole.len(), 5, "{whole:?}");
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut answer = Answers::new(1);
            answer.choice(0).start_splitting(format, &[], task(), 0);
            let mut taken = Vec::new();
            let mut chars = text.chars().peekable();
            while chars.peek().is_some() {
                let piece: String = chars.by_ref().take(random.random_range(1..12)).collect();
                answer.choice(0).push(&piece, Vec::new());
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
            answer.choice(0).end();
            while answer.left() > 0 {
                take(&mut taken, answer.unpublished());
                answer.acknowledged();
            }
            assert_eq!(text_of(&taken), text);
            let told = joined(taken.into_iter().flat_map(|chunk| chunk.parts.unwrap()));
            assert_eq!(told, whole);
            assert_eq!(joined(answer.choice(0).parts().unwrap().iter().cloned()), whole);
        }
    }

    #[test]
    fn logprobs_are_published_once_with_their_text() {
        let one = |text: &str| TokenLogprobs {
            drawn: chat::TokenLogprob::new(text.into(), -1.0),
            top_logprobs: vec![],
        };
        let mut answer = Answers::new(1);
        answer.choice(0).push("a", vec![one("a")]);
        let (_, lost) = only(answer.unpublished());
        assert_eq!((lost.text.as_str(), &lost.logprobs[..]), ("a", &[one("a")][..]));
        answer.choice(0).push("b", vec![one("b"), one("")]);
        assert_eq!(only(answer.unpublished()).1, lost, "the same again");
        answer.acknowledged();
        assert_eq!(answer.left(), 3);
        let (_, next) = only(answer.unpublished());
        assert_eq!((next.text.as_str(), &next.logprobs[..]), ("b", &[one("b"), one("")][..]));
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
        assert_eq!(answer.choice(0).logprobs().content.len(), 3);
    }

    #[test]
    fn chunks_of_several_answers_are_published_exactly_once() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..500 {
            let mut answers = Answers::new(3);
            let (mut taken, mut texts) = (Vec::new(), vec![String::new(); 3]);
            for step in 0..12 {
                let choice = random.random_range(0..3);
                answers.choice(choice).push(&format!("<{step}>"), Vec::new());
                texts[choice].push_str(&format!("<{step}>"));
                match random.random_range(0..4) {
                    0 => {
                        take(&mut taken, answers.unpublished());
                        answers.acknowledged();
                    }
                    1 => take(&mut taken, answers.unpublished()),
                    2 => drop(answers.unpublished()),
                    _ => {}
                }
            }
            while answers.left() > 0 {
                take(&mut taken, answers.unpublished());
                answers.acknowledged();
            }
            for (choice, text) in texts.iter().enumerate() {
                let own = taken.iter().filter(|chunk| usize::from(chunk.choice) == choice);
                assert_eq!(own.map(|chunk| &*chunk.text).collect::<String>(), *text);
            }
        }
    }

    #[test]
    fn calls_of_different_answers_have_different_ids() {
        let format = AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true };
        let mut answers = Answers::new(2);
        let ids = [0, 1].map(|choice| {
            let answer = answers.choice(choice);
            answer.start_splitting(format, &[], task(), choice);
            answer.push("<tool_call>{\"name\": \"f\"}</tool_call>", Vec::new());
            let [Part::ToolCall { call: chat::ToolCall::Function { id, .. } }] =
                answer.parts().unwrap()
            else {
                panic!("{:?}", answer.parts());
            };
            id.clone()
        });
        assert_eq!(ids, ["call_8def0123456789ab0", "call_8def0123456789ab_1_0"]);
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
