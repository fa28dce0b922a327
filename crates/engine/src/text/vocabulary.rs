//! Reads and checks a model's vocabulary.

use std::collections::{HashMap, HashSet};

use super::byte_level;
use super::pre_tokenizer::Family;
use crate::LoadError;
use crate::gguf::{GgufError, GgufFile, Metadata};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
/// The keys of tokens that end a generation.
const END_KEYS: [&str; 3] = [EOS, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// The key of all tokens that end a generation, in the metadata of a model that is not a GGUF file.
pub(crate) const END_IDS: &str = "qwen_queue.end_token_ids";
/// The texts of tokens that end a generation of every Qwen model, in addition to those of the keys.
const END_TEXTS: [&str; 2] = ["<|im_end|>", "<|endoftext|>"];

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Controls the model (`<|im_start|>`). Found in text before BPE, never shown.
    Control,
    /// Found in text before BPE as a control token is, but shown (`<think>`, `<tool_call>`).
    UserDefined,
    /// Padding of the vocabulary. Never shown.
    Unused,
}

impl TokenKind {
    /// The kind of a token by its text alone. llama.cpp takes all tokens for text then, but for those that end
    /// a turn or mark a gap to be filled; a chat with Qwen needs those that begin one too.
    fn infer_from_text(text: &str) -> Self {
        let is_padding = || {
            let number = text.strip_prefix("[PAD").and_then(|rest| rest.strip_suffix(']'));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        match text {
            "<think>" | "</think>" | "<tool_call>" | "</tool_call>" | "<tool_response>"
            | "</tool_response>" => Self::UserDefined,
            _ if text.len() > 4 && text.starts_with("<|") && text.ends_with("|>") => Self::Control,
            _ if is_padding() => Self::Unused,
            _ => Self::Normal,
        }
    }
}

/// The tokens of a model, and how text is split into them.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Texts by id: those of normal tokens in the byte-level alphabet, the others in plain text.
    pub(super) tokens: Vec<String>,
    /// Kinds by id, one per token.
    pub(super) kinds: Vec<TokenKind>,
    /// Pairs of texts that BPE merges, in order of priority. Both sides and the result are normal tokens.
    pub(super) merges: Vec<(String, String)>,
    /// How text is split before BPE.
    pub(super) family: Family,
    /// The token in front of every raw text, if the model's metadata asks for one.
    pub(super) prefix: Option<u32>,
    /// The token after every complete text, e.g. one to embed, if the model's metadata asks for one.
    pub(super) suffix: Option<u32>,
    /// The beginning-of-text token, if the file names one.
    pub(super) bos: Option<u32>,
    /// The end-of-text token, if the file names one.
    pub(super) eos: Option<u32>,
    /// Tokens that end a generation, in ascending order.
    pub(super) ends: Vec<u32>,
}

impl Vocabulary {
    /// Reads and checks the tokenizer metadata of a file.
    ///
    /// # Errors
    /// If a key is missing or wrong, or the tokenizer is not a byte-level BPE of a Qwen family.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, LoadError> {
        Self::from_metadata(file.all_metadata())
    }

    pub(super) fn from_metadata(file: &Metadata) -> Result<Self, LoadError> {
        let model: &str = file.require(MODEL)?;
        if model != "gpt2" {
            return Err(file.unsupported(format!(
                "its tokenizer is of the type {model:?} ({MODEL}); supported is \"gpt2\" \
                 (byte-level BPE)"
            )));
        }
        let family = family(file)?;

        let tokens: &[String] = file.require(TOKENS)?;
        let kinds = kinds(file, tokens)?;
        let ids = texts_of_normal_tokens(file, tokens, &kinds)?;
        let merges = merges(file, &ids)?;

        let bos = token_id(file, BOS, tokens.len())?;
        let eos = token_id(file, EOS, tokens.len())?;
        let added = |flag: &str, key: &str, token: Option<u32>| match file.get::<bool>(flag)? {
            Some(true) => Ok(Some(token.ok_or_else(|| file.error(missing(key)))?)),
            _ => Ok::<_, LoadError>(None),
        };
        Ok(Self {
            ends: ends(file, tokens, &kinds)?,
            prefix: added(ADD_BOS, BOS, bos)?,
            suffix: added(ADD_EOS, EOS, eos)?,
            eos,
            tokens: tokens.to_vec(),
            kinds,
            merges,
            family,
            bos,
        })
    }

    /// Returns the number of tokens, including unused ones.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Returns the token with this text, or `None` if there is none. Searches all tokens.
    pub(crate) fn id_of(&self, text: &str) -> Option<u32> {
        self.iter().find_map(|(id, of_token, _)| (of_token == text).then_some(id))
    }

    /// Describes the first token that another vocabulary has not, or has in another place; `None` if there is none.
    /// Unused tokens, which pad a vocabulary, are not compared.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let text = |of: &Self, id: usize| {
            let used = of.kinds.get(id).is_some_and(|kind| *kind != TokenKind::Unused);
            of.tokens.get(id).filter(|_| used).cloned()
        };
        let ids = 0..self.len().max(other.len());
        ids.map(|id| (id, text(self, id), text(other, id)))
            .find(|(_, own, others)| own != others)
            .map(|(id, own, others)| {
                let name =
                    |text: Option<String>| text.map_or("unused".to_owned(), |t| format!("{t:?}"));
                format!("its token {id} is {} instead of {}", name(own), name(others))
            })
    }

    /// Returns the text of a token, or `None` if it does not exist.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// Returns the id, text and kind of all tokens, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        (0..)
            .zip(&self.tokens)
            .zip(&self.kinds)
            .map(|((id, text), &kind)| (id, text.as_str(), kind))
    }
}

/// How text is split before BPE. Files from before there was a key for it are read as llama.cpp reads them.
fn family(file: &Metadata) -> Result<Family, LoadError> {
    let Some(pre) = file.get::<&str>(PRE)? else {
        tracing::warn!(
            "{}: it does not say how text is split into words ({PRE} is missing), so it is split as llama.cpp \
             does then (\"default\"), not as Qwen's models were trained: answers will be worse. Convert the \
             model again, or set the key to \"qwen2\" (gguf-new-metadata --pre-tokenizer qwen2)",
            file.label()
        );
        return Ok(Family::Default);
    };
    Family::from_name(pre).ok_or_else(|| {
        file.unsupported(format!(
            "its tokenizer splits words like {pre:?} ({PRE}); supported are {}",
            Family::NAMES.map(|name| format!("{name:?}")).join(" and ")
        ))
    })
}

/// Reads the kinds of all tokens.
fn kinds(file: &Metadata, tokens: &[String]) -> Result<Vec<TokenKind>, LoadError> {
    let Some(types) = file.get::<&[i64]>(KINDS)? else {
        tracing::warn!(
            "{}: it does not say which tokens are control tokens ({KINDS} is missing): those that look like \
             Qwen's are taken for such, all others for text",
            file.label()
        );
        return Ok(tokens.iter().map(|text| TokenKind::infer_from_text(text)).collect());
    };
    if types.len() != tokens.len() {
        let tokens = tokens.len();
        let expected = format!("one type for each of the {tokens} tokens");
        return Err(file.error(wrong(KINDS, expected, format!("{} types", types.len()))));
    }
    types
        .iter()
        .enumerate()
        .map(|(id, number)| match number {
            1 => Ok(TokenKind::Normal),
            3 => Ok(TokenKind::Control),
            4 => Ok(TokenKind::UserDefined),
            2 | 5 => Ok(TokenKind::Unused),
            _ => Err(file.error(wrong(
                KINDS,
                "1 (normal) to 5 (unused) for each token of a byte-level BPE",
                format!("{number} for token {id}"),
            ))),
        })
        .collect()
}

/// Returns the texts of the normal tokens. Checks that no two tokens have the same text, and that every byte has
/// a token, so that any text can be tokenized.
fn texts_of_normal_tokens<'a>(
    file: &Metadata,
    tokens: &'a [String],
    kinds: &[TokenKind],
) -> Result<HashSet<&'a str>, LoadError> {
    let mut first_of: HashMap<&str, usize> = HashMap::with_capacity(tokens.len());
    for (id, text) in tokens.iter().enumerate() {
        if kinds[id] == TokenKind::Unused {
            continue;
        }
        let problem = if text.is_empty() {
            Some(format!("an empty text for token {id}"))
        } else {
            first_of.insert(text, id).map(|first| format!("{text:?} for both {first} and {id}"))
        };
        if let Some(problem) = problem {
            return Err(file.error(wrong(TOKENS, "one text for each token", problem)));
        }
    }
    let normal: HashSet<&str> = first_of
        .into_iter()
        .filter(|&(_, id)| kinds[id] == TokenKind::Normal)
        .map(|(text, _)| text)
        .collect();
    let mut buffer = [0; 4];
    match (0..=255)
        .find(|&byte| !normal.contains(&*byte_level::char_of(byte).encode_utf8(&mut buffer)))
    {
        None => Ok(normal),
        Some(byte) => Err(file.error(wrong(
            TOKENS,
            "a vocabulary with a token for each byte",
            format!("one without {:?} (byte {byte:#04x})", byte_level::char_of(byte)),
        ))),
    }
}

/// Reads the merges. Checks that both sides and the result are normal tokens.
fn merges(file: &Metadata, normal: &HashSet<&str>) -> Result<Vec<(String, String)>, LoadError> {
    let lines: &[String] = file.require(MERGES)?;
    lines
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let pair = line.split_once(' ').filter(|(left, right)| {
                normal.contains(left)
                    && normal.contains(right)
                    && normal.contains(format!("{left}{right}").as_str())
            });
            let (left, right) = pair.ok_or_else(|| {
                file.error(wrong(
                    MERGES,
                    "pairs of tokens that make a token, with one space between",
                    format!("{line:?} as number {number}"),
                ))
            })?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect()
}

/// Reads the id of a token, or `None` if the key is missing.
fn token_id(file: &Metadata, key: &str, tokens: usize) -> Result<Option<u32>, LoadError> {
    match file.get::<u32>(key)? {
        Some(id) if id as usize >= tokens => {
            Err(file.error(wrong(key, format!("one of the {tokens} tokens"), id.to_string())))
        }
        id => Ok(id),
    }
}

/// Returns all tokens that end a generation, in ascending order. None at all is an error.
fn ends(file: &Metadata, tokens: &[String], kinds: &[TokenKind]) -> Result<Vec<u32>, LoadError> {
    let mut ends = Vec::new();
    for key in END_KEYS {
        ends.extend(token_id(file, key, tokens.len())?);
    }
    for id in file.get::<&[i64]>(END_IDS)?.unwrap_or_default() {
        let known = u32::try_from(*id).ok().filter(|id| (*id as usize) < tokens.len());
        ends.push(known.ok_or_else(|| {
            file.error(wrong(
                END_IDS,
                format!("one of the {} tokens", tokens.len()),
                id.to_string(),
            ))
        })?);
    }
    ends.extend((0..).zip(tokens).zip(kinds).filter_map(|((id, text), kind)| {
        (*kind != TokenKind::Normal && END_TEXTS.contains(&text.as_str())).then_some(id)
    }));
    ends.sort_unstable();
    ends.dedup();
    if ends.is_empty() { Err(file.error(missing(EOS))) } else { Ok(ends) }
}

fn missing(key: &str) -> GgufError {
    GgufError::MissingKey { key: key.to_owned() }
}

fn wrong(key: &str, expected: impl Into<String>, found: impl Into<String>) -> GgufError {
    GgufError::WrongValue { key: key.to_owned(), expected: expected.into(), found: found.into() }
}
