//! The channel to the caller: text and logprobs.

use std::collections::VecDeque;

use tokio::sync::mpsc::UnboundedSender;

use chat::{TokenLogprob, TokenLogprobs};

use crate::api::Progress;
use crate::sample;
use crate::text::Tokenizer;

/// The sender of a stream's text.
#[derive(Debug)]
pub(super) struct Outlet {
    progress: UnboundedSender<Progress>,
    /// The logprobs, if requested.
    logprobs: Option<Logprobs>,
}

impl Outlet {
    /// Creates the sender, with the logprobs of each token and of the `top` most likely alternatives if requested.
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

    /// Returns whether it needs the logits that tokens are sampled from.
    pub(super) fn needs_logits(&self) -> bool {
        self.logprobs.is_some()
    }

    /// Records a token sampled from `logits` (`[vocab]`, as the model computed them), after which `text_bytes`
    /// more bytes of text are final.
    pub(super) fn note(&mut self, token: u32, logits: &[f32], text_bytes: usize) {
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.note(token, logits, text_bytes);
        }
    }

    /// Sends text, and the logprobs of the tokens that begin in it.
    pub(super) fn text(&mut self, text: String) {
        if !text.is_empty() {
            let logprobs = self.logprobs.as_mut().map(|one| one.take_logprobs_for(text.len()));
            let logprobs = logprobs.unwrap_or_default();
            // An error means that the caller is gone, which is fine.
            let _ = self.progress.send(Progress::Text { text, logprobs });
        }
    }

    /// Sends the last text, and all remaining logprobs.
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

/// Logprobs of tokens whose text was not sent yet, since it may be part of a character or of a stop
/// string.
#[derive(Debug)]
struct Logprobs {
    tokenizer: Tokenizer,
    top: usize,
    /// Each with the offset in the text at which the token's text begins.
    waiting: VecDeque<(usize, TokenLogprobs)>,
    /// The bytes of text of all tokens so far, and how many of them were sent.
    written: usize,
    sent: usize,
}

impl Logprobs {
    fn note(&mut self, token: u32, logits: &[f32], text_bytes: usize) {
        let sample::Logprobs { drawn, top } = sample::logprobs(logits, token, self.top);
        let named = |(token, logprob)| {
            TokenLogprob::new(self.tokenizer.token_bytes(token), logprob).with_id(token)
        };
        let told = TokenLogprobs {
            drawn: named((token, drawn)),
            top_logprobs: top.into_iter().map(named).collect(),
        };
        self.waiting.push_back((self.written, told));
        self.written += text_bytes;
    }

    /// Returns the logprobs of the tokens that begin in the next `bytes` bytes of text. A token without text
    /// (part of a character) goes with the text after it.
    fn take_logprobs_for(&mut self, bytes: usize) -> Vec<TokenLogprobs> {
        self.sent += bytes;
        let begun = self.waiting.partition_point(|(begin, _)| *begin < self.sent);
        self.waiting.drain(..begun).map(|(_, told)| told).collect()
    }

    fn rest(&mut self) -> Vec<TokenLogprobs> {
        self.waiting.drain(..).map(|(_, told)| told).collect()
    }
}
