//! Converts text to tokens: finds special tokens, composes characters (NFC), splits into words, and runs Hugging
//! Face's BPE on the words' bytes.
//!
//! Of Hugging Face's pipeline only BPE is used: the rest tracks the origin of every character and splits with a
//! backtracking regex engine. `tests/text/pipeline.rs` compares the results with the whole pipeline.

use std::sync::Arc;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};
use unicode_normalization_alignments::UnicodeNormalization;

use super::byte_level;
use super::detokenizer::{Detokenizer, Pieces};
use super::prompt::Prompt;
use super::special::{PromptPiece, SpecialTokens};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::LoadError;
use crate::gguf::{GgufFile, Metadata};

/// The error of BPE for a text.
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
    ///
    /// # Errors
    /// If the metadata is incomplete, damaged, or describes a tokenizer that is not supported.
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

    /// Tokenizes a raw text. The texts of special tokens become these tokens. The beginning-of-text token comes
    /// first if the model's metadata asks for it.
    ///
    /// # Errors
    /// If BPE fails, which a checked vocabulary rules out.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens: Vec<u32> = self.0.vocabulary.prefix.into_iter().collect();
        self.encode_into(text, &[], &mut tokens)?;
        Ok(tokens)
    }

    /// Tokenizes a complete text, e.g. one to embed: as [`encode`](Self::encode), then the end-of-text token if
    /// the model's metadata asks for it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = self.encode(text)?;
        tokens.extend(self.0.vocabulary.suffix);
        Ok(tokens)
    }

    /// Tokenizes a rendered conversation. Special tokens in the template's text become these tokens; in a
    /// message's text they stay text. No token is added in front, as in `apply_chat_template` of transformers.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
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
            PromptPiece::Special(id) => tokens.push(id),
            PromptPiece::Text(text) => {
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

    /// Creates a detokenizer for one stream of tokens.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(self.0.pieces.clone())
    }

    /// Returns the text of these tokens, without control tokens.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for &token in tokens {
            detokenizer.push_into(token, &mut text);
        }
        text.push_str(&detokenizer.finish());
        text
    }

    /// Returns the bytes that a token spells, which may be part of a character. For a control token these are its
    /// name, though it adds nothing to a text. A token that does not exist has none.
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

    /// Returns the tokens that end a generation, in ascending order. There is at least one.
    pub fn ends(&self) -> &[u32] {
        &self.0.vocabulary.ends
    }

    /// Returns, by token id, the bytes that each token adds to an answer, and whether it is hidden (control and
    /// unused tokens).
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.0.vocabulary.iter().map(|(id, _, kind)| {
            let hidden = matches!(kind, TokenKind::Control | TokenKind::Unused);
            (self.0.pieces.of(id), hidden)
        })
    }

    /// The vocabulary that the tokenizer was built from.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.0.vocabulary
    }
}
