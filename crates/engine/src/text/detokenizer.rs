//! Converts tokens to text, one at a time.

use std::fmt;
use std::sync::Arc;

use super::byte_level;
use super::vocabulary::{TokenKind, Vocabulary};

/// The bytes that each token adds to the text.
pub(super) struct Pieces {
    /// The bytes of all tokens, token after token. Control and unused tokens have none.
    bytes: Vec<u8>,
    /// Where each token's bytes begin, and the end of the last.
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

    /// Returns the bytes of a token. A token that does not exist has none.
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

/// Converts one stream of tokens to text.
///
/// A token may have part of a character. Its bytes are held until the character is complete, so each returned
/// text is valid UTF-8. Invalid bytes become U+FFFD, exactly as in [`String::from_utf8_lossy`] of the whole
/// stream.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    pieces: Arc<Pieces>,
    /// The start of an incomplete character. At most three bytes between calls.
    pending: Vec<u8>,
}

impl Detokenizer {
    pub(super) fn new(pieces: Arc<Pieces>) -> Self {
        Self { pieces, pending: Vec::new() }
    }

    /// Returns the text that this token completes. It is empty if the token ends within a character.
    pub fn push(&mut self, token: u32) -> String {
        let mut text = String::new();
        self.push_into(token, &mut text);
        text
    }

    /// Does the same as [`push`](Self::push), and appends to `text`.
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

    /// Returns the bytes that a token adds to the text.
    pub(crate) fn bytes_of(&self, token: u32) -> &[u8] {
        self.pieces.of(token)
    }

    /// Ends the stream. Returns U+FFFD for an incomplete character, else an empty text.
    pub fn finish(mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Appends complete characters, and U+FFFD for invalid bytes, to `text`, and an incomplete last character to
/// `pending`.
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
    fn streamed_text_equals_from_utf8_lossy_of_all_bytes() {
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
    fn characters_are_emitted_once_their_bytes_are_complete() {
        let mut detokenizer = Detokenizer::new(one_token_per_byte());
        let chunks: Vec<String> =
            "🦙é".bytes().map(|byte| detokenizer.push(u32::from(byte))).collect();
        assert_eq!(chunks, ["", "", "", "🦙", "", "é"]);
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn unknown_token_ids_add_no_text() {
        let mut detokenizer = Detokenizer::new(one_token_per_byte());
        assert_eq!(detokenizer.push(256), "");
        assert_eq!(detokenizer.push(u32::MAX), "");
    }
}
