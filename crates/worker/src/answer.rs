//! The text of one attempt, and which of it the queue has.

use protocol::{Logprobs, TokenLogprobs};

/// Text that grows, and goes to the queue in numbered chunks. Only one chunk at a time is on its way:
/// one whose reply got lost goes out again, unchanged and under the same number, so that the queue can
/// tell it from a new one.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    /// How likely its tokens were, if that was asked for.
    logprobs: Logprobs,
    /// Chunks that the queue has, and where they end in the text.
    published: u64,
    published_to: usize,
    /// Where the chunk ends that was sent and not acknowledged: the queue may have it, or not.
    sent_to: Option<usize>,
}

impl Answer {
    /// Adds generated text, and how likely its tokens were.
    pub(crate) fn push(&mut self, text: &str, logprobs: impl Iterator<Item = TokenLogprobs>) {
        self.text.push_str(text);
        self.logprobs.content.extend(logprobs);
    }

    /// How likely the tokens were, if that was asked for. None are left here.
    pub(crate) fn take_logprobs(&mut self) -> Logprobs {
        std::mem::take(&mut self.logprobs)
    }

    /// The whole text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many bytes of it the queue has yet to acknowledge.
    pub(crate) fn left(&self) -> usize {
        self.text.len() - self.published_to
    }

    /// What to publish: how many chunks came before, and the next. A chunk that was not acknowledged
    /// comes again, without what was generated since.
    pub(crate) fn unpublished(&mut self) -> (u64, String) {
        let cut = *self.sent_to.get_or_insert(self.text.len());
        (self.published, self.text[self.published_to..cut].to_owned())
    }

    /// The queue has what [`Self::unpublished`] last told.
    pub(crate) fn acknowledged(&mut self) {
        if let Some(cut) = self.sent_to.take() {
            self.published_to = cut;
            self.published += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    /// Takes chunks as a queue does: those it has are not taken twice.
    fn take(taken: &mut Vec<String>, (from, chunk): (u64, String)) {
        if taken.len() as u64 == from {
            taken.push(chunk);
        }
    }

    #[test]
    fn no_text_is_told_twice_or_lost_when_replies_and_requests_are() {
        // Every pattern of six sends, each of which arrives and is acknowledged (0), arrives and is
        // not (1), or gets lost on its way (2).
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
            assert_eq!(taken.concat(), "<0><1><2><3><4><5>", "pattern {pattern}");
            assert_eq!(answer.text(), "<0><1><2><3><4><5>");
        }
    }

    #[test]
    fn nothing_new_is_nothing_to_publish() {
        let mut answer = Answer::default();
        assert_eq!(answer.left(), 0);
        answer.push("a", iter::empty());
        assert_eq!(answer.unpublished(), (0, "a".to_owned()));
        assert_eq!(answer.left(), 1, "not acknowledged yet");
        answer.acknowledged();
        assert_eq!(answer.left(), 0);
    }
}
