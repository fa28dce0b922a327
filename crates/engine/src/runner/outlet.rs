//! The channel to the caller: text, and what is known of its tokens.

use std::collections::VecDeque;

use tokio::sync::mpsc::UnboundedSender;

use crate::api::{Progress, TokenLogprob, TokenLogprobs};
use crate::sample;
use crate::text::Tokenizer;

/// Where a stream's text goes.
#[derive(Debug)]
pub(super) struct Outlet {
    progress: UnboundedSender<Progress>,
    /// If they were asked for.
    logprobs: Option<Logprobs>,
}

impl Outlet {
    /// With the logprobs of each token and of the `top` likeliest at its place, if any.
    pub(super) fn new(
        progress: UnboundedSender<Progress>,
        tokenizer: &Tokenizer,
        top: Option<usize>,
    ) -> Self {
        let logprobs = |top| Logprobs {
            tokenizer: tokenizer.clone(),
            top,
            waiting: VecDeque::new(),
            written: 0,
            sent: 0,
        };
        Self { progress, logprobs: top.map(logprobs) }
    }

    /// Whether it asks for the logits that tokens were drawn from.
    pub(super) fn wants_logits(&self) -> bool {
        self.logprobs.is_some()
    }

    /// A token was drawn from `logits` (`[vocab]`, as the model computed them), which made so many
    /// bytes of text certain.
    pub(super) fn note(&mut self, token: u32, logits: &[f32], text_bytes: usize) {
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.note(token, logits, text_bytes);
        }
    }

    /// Sends text, and what is known of the tokens that begin in it.
    pub(super) fn text(&mut self, text: String) {
        if !text.is_empty() {
            let logprobs = self.logprobs.as_mut().map(|one| one.of_next(text.len()));
            let logprobs = logprobs.unwrap_or_default();
            // A caller who is gone does not mind.
            let _ = self.progress.send(Progress::Text { text, logprobs });
        }
    }

    /// Sends the last of the text, and all that is known.
    pub(super) fn last_text(&mut self, text: String) {
        let logprobs = self.logprobs.as_mut().map(Logprobs::rest).unwrap_or_default();
        if !text.is_empty() || !logprobs.is_empty() {
            let _ = self.progress.send(Progress::Text { text, logprobs });
        }
    }

    /// Sends the end.
    pub(super) fn end(self, end: Progress) {
        let _ = self.progress.send(end);
    }
}

/// What is known of tokens whose text was not sent yet: it may be part of a character, or of a stop
/// string.
#[derive(Debug)]
struct Logprobs {
    tokenizer: Tokenizer,
    top: usize,
    /// Each with the place in the text where its own begins.
    waiting: VecDeque<(usize, TokenLogprobs)>,
    /// Bytes of text that came of the tokens so far, and those of them that were sent.
    written: usize,
    sent: usize,
}

impl Logprobs {
    fn note(&mut self, token: u32, logits: &[f32], text_bytes: usize) {
        let sample::Logprobs { drawn, top } = sample::logprobs(logits, token, self.top);
        let named = |(token, logprob)| TokenLogprob {
            token,
            bytes: self.tokenizer.token_bytes(token),
            logprob,
        };
        let told = TokenLogprobs {
            drawn: named((token, drawn)),
            top: top.into_iter().map(named).collect(),
        };
        self.waiting.push_back((self.written, told));
        self.written += text_bytes;
    }

    /// What is known of the tokens that begin in the next so many bytes of text. What adds no text, as
    /// part of a character does not, goes with the text that follows it.
    fn of_next(&mut self, bytes: usize) -> Vec<TokenLogprobs> {
        self.sent += bytes;
        let begun = self.waiting.partition_point(|(begin, _)| *begin < self.sent);
        self.waiting.drain(..begun).map(|(_, told)| told).collect()
    }

    fn rest(&mut self) -> Vec<TokenLogprobs> {
        self.waiting.drain(..).map(|(_, told)| told).collect()
    }
}
