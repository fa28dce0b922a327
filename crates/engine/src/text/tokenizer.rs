//! Text to tokens: special tokens first, then NFC, words, bytes, and Hugging Face's BPE.
//!
//! Hugging Face's own pipeline keeps the origin of every character and runs the split on a
//! backtracking engine; neither is wanted here, so only its BPE is used. `tests/text.rs` holds
//! this against that pipeline.

use std::sync::Arc;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};
use unicode_normalization_alignments::UnicodeNormalization;

use super::byte_level;
use super::detokenizer::{Detokenizer, Pieces};
use super::prompt::Prompt;
use super::special::{Piece, SpecialTokens};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::LoadError;
use crate::gguf::{GgufFile, Metadata};

/// A text could not be tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text could not be tokenized: {0}")]
pub struct TokenizerError(String);

/// A model's tokenizer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bpe: BPE,
    special: SpecialTokens,
    pieces: Arc<Pieces>,
    vocabulary: Vocabulary,
}

impl Tokenizer {
    /// Builds the tokenizer that a file's metadata describes.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, LoadError> {
        Self::from_metadata(file.all_metadata())
    }

    pub(crate) fn from_metadata(file: &Metadata) -> Result<Self, LoadError> {
        let refused = |problem: String| file.unsupported(format!("its tokenizer: {problem}"));
        let vocabulary = Vocabulary::from_metadata(file)?;
        let normal: Vocab = vocabulary
            .iter()
            .filter(|&(_, _, kind)| kind == TokenKind::Normal)
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect();
        let bpe = BPE::builder()
            .vocab_and_merges(normal, vocabulary.merges.clone())
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let special =
            SpecialTokens::new(&vocabulary).map_err(|error| refused(error.to_string()))?;
        let pieces = Arc::new(Pieces::new(&vocabulary));
        Ok(Self(Arc::new(Inner { bpe, special, pieces, vocabulary })))
    }

    /// Tokens of a raw text, in which the texts of special tokens count as such. The model's
    /// beginning-of-text token comes first if the file asks for it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens: Vec<u32> = self.0.vocabulary.prefix.into_iter().collect();
        self.encode_into(text, &[], &mut tokens)?;
        Ok(tokens)
    }

    /// Tokens of a text that nothing will follow: as [`encode`](Self::encode), and the model's
    /// end-of-text token if the file asks for it.
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = self.encode(text)?;
        tokens.extend(self.0.vocabulary.suffix);
        Ok(tokens)
    }

    /// Tokens of a rendered conversation: the template's special tokens count as such, those
    /// that a message's text spells out stay text. Nothing is put in front, as in Hugging Face's
    /// `apply_chat_template`.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        self.encode_into(prompt.text(), prompt.marks(), &mut tokens)?;
        Ok(tokens)
    }

    fn encode_into(
        &self,
        text: &str,
        marks: &[usize],
        tokens: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut outcome = Ok(());
        self.0.special.split(text, marks, |piece| match piece {
            Piece::Special(id) => tokens.push(id),
            Piece::Text(text) => {
                if outcome.is_ok() {
                    outcome = self.encode_text(text, tokens);
                }
            }
        });
        outcome
    }

    fn encode_text(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let composed: String;
        let text = if text.is_ascii() {
            text
        } else {
            composed = text.nfc().map(|(char, _)| char).collect();
            &composed
        };
        let mut word_chars = String::new();
        for word in self.0.vocabulary.family.words(text) {
            word_chars.clear();
            byte_level::write(word, &mut word_chars);
            let merged = self
                .0
                .bpe
                .tokenize(&word_chars)
                .map_err(|error| TokenizerError(error.to_string()))?;
            tokens.extend(merged.into_iter().map(|token| token.id));
        }
        Ok(())
    }

    /// A decoder for one stream of tokens.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(self.0.pieces.clone())
    }

    /// The text of these tokens; control tokens are left out.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for &token in tokens {
            detokenizer.push_into(token, &mut text);
        }
        text.push_str(&detokenizer.finish());
        text
    }

    /// What a token spells, maybe part of a character. A control token has its name, though it adds
    /// nothing to a text; one that does not exist has nothing.
    pub fn token_bytes(&self, token: u32) -> Vec<u8> {
        let vocabulary = &self.0.vocabulary;
        match vocabulary.text(token) {
            Some(text) if vocabulary.kinds[token as usize] == TokenKind::Normal => {
                byte_level::bytes_of(text)
            }
            Some(text) => text.as_bytes().to_vec(),
            None => Vec::new(),
        }
    }

    /// Whether this token ends a generation.
    pub fn is_end(&self, token: u32) -> bool {
        self.0.vocabulary.ends.binary_search(&token).is_ok()
    }

    /// All tokens that end a generation, in ascending order; at least one.
    pub fn ends(&self) -> &[u32] {
        &self.0.vocabulary.ends
    }

    /// What each token adds to an answer, by id: its bytes, and whether it is hidden (control tokens).
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.0.vocabulary.iter().map(|(id, _, kind)| {
            let hidden = matches!(kind, TokenKind::Control | TokenKind::Unused);
            (self.0.pieces.of(id), hidden)
        })
    }

    /// What the tokenizer was built from.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.0.vocabulary
    }
}
