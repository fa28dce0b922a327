//! Tokens to text, one at a time.

use std::fmt;
use std::sync::Arc;

use super::byte_level;
use super::vocabulary::{TokenKind, Vocabulary};

/// What each token adds to the text, in bytes.
pub(super) struct Pieces {
    /// The bytes of all tokens, one after the other; control and unused tokens have none.
    bytes: Vec<u8>,
    /// Where each token's bytes begin, and last where all end.
    starts: Vec<usize>,
}

impl Pieces {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut bytes = Vec::new();
        let mut starts = Vec::with_capacity(vocabulary.len() + 1);
        for (_, text, kind) in vocabulary.iter() {
            starts.push(bytes.len());
            match kind {
                TokenKind::Normal => bytes.extend(byte_level::bytes_of(text)),
                TokenKind::UserDefined => bytes.extend(text.as_bytes()),
                TokenKind::Control | TokenKind::Unused => {}
            }
        }
        starts.push(bytes.len());
        Self { bytes, starts }
    }

    /// The bytes of a token; none for one that does not exist.
    pub(super) fn of(&self, token: u32) -> &[u8] {
        match self.starts.get(token as usize..) {
            Some(&[from, to, ..]) => &self.bytes[from..to],
            _ => &[],
        }
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("tokens", &(self.starts.len() - 1)).finish_non_exhaustive()
    }
}

/// Turns one stream of tokens into text.
///
/// A token may hold part of a character; its bytes wait here until the character is whole, so
/// what comes out can be sent as it is. Bytes that can never become a character come out as
/// U+FFFD, exactly as in [`String::from_utf8_lossy`] of the whole.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    /// The beginning of a character that is not whole yet; at most three bytes between calls.
    pending: Vec<u8>,
}

impl Detokenizer {
    pub(super) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, pending: Vec::new() }
    }

    /// The text that this token completes; often empty within a character.
    pub fn push(&mut self, token: u32) -> String {
        let mut text = String::new();
        self.push_into(token, &mut text);
        text
    }

    /// As [`push`](Self::push), appending to `text`.
    pub fn push_into(&mut self, token: u32, text: &mut String) {
        let bytes = self.pieces.of(token);
        if self.pending.is_empty() {
            drain_characters(bytes, text, &mut self.pending);
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(bytes);
            drain_characters(&joined, text, &mut self.pending);
        }
    }

    /// The end: a character that never became whole comes out as U+FFFD.
    pub fn finish(mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Moves all that is decided to `text`, and the beginning of a last character to `pending`.
fn drain_characters(mut bytes: &[u8], text: &mut String, pending: &mut Vec<u8>) {
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(valid) => return text.push_str(valid),
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        text.push_str(&String::from_utf8_lossy(valid)); // valid: nothing is replaced
        match error.error_len() {
            None => return pending.extend_from_slice(rest),
            Some(len) => {
                text.push(char::REPLACEMENT_CHARACTER);
                bytes = &rest[len..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn one_token_per_byte() -> Arc<Pieces> {
        Arc::new(Pieces { bytes: (0..=255).collect(), starts: (0..=256).collect() })
    }

    #[test]
    fn any_bytes_come_out_as_the_lossy_whole() {
        let mut random = StdRng::seed_from_u64(7);
        let alphabet =
            [0x41, 0x80, 0xBF, 0xC3, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0xA6, 0x99, 0xFF, 0xC0];
        for _ in 0..5_000 {
            let bytes: Vec<u8> = (0..random.random_range(0..12))
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect();
            let mut detokenizer = Detokenizer::new(one_token_per_byte());
            let mut text = String::new();
            for &byte in &bytes {
                text.push_str(&detokenizer.push(u32::from(byte)));
                assert!(detokenizer.pending.len() <= 3, "{bytes:x?}");
            }
            text.push_str(&detokenizer.finish());
            assert_eq!(text, String::from_utf8_lossy(&bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn a_character_comes_out_once_it_is_whole() {
        let mut detokenizer = Detokenizer::new(one_token_per_byte());
        let chunks: Vec<String> =
            "🦙é".bytes().map(|byte| detokenizer.push(u32::from(byte))).collect();
        assert_eq!(chunks, ["", "", "", "🦙", "", "é"]);
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn a_token_that_does_not_exist_adds_nothing() {
        let mut detokenizer = Detokenizer::new(one_token_per_byte());
        assert_eq!(detokenizer.push(256), "");
        assert_eq!(detokenizer.push(u32::MAX), "");
    }
}
