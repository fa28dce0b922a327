//! Speculative decoding: drafts tokens that may follow, so that one step verifies several of them.
//!
//! A step that computes a few more rows takes little longer, because it reads the same weights. So a drafter guesses
//! the next tokens of a sequence, the step computes them behind the last token, and the sequence's own sampler then
//! takes one token after the other from their logits: as long as it takes the drafted token, the next row is valid too.
//! A row's logits do not depend on the rows beside it, so the tokens are those of decoding one by one, whether greedy
//! or sampled. A drafted token is accepted with the probability that the model gives to it, which is what rejection
//! sampling (<https://arxiv.org/abs/2211.17192>) accepts of a certain draft.
//!
//! - [`lookup`]: drafts what followed the last tokens before, in the prompt or in the answer.
//! - [`draft_model`]: drafts what a smaller model finds likeliest.
//! - [`acceptance`]: how often drafted tokens are accepted.
//! - [`pays`]: how many tokens to draft, by acceptance and by the measured time of steps.
//! - [`speculator`]: all of it together, for the compute thread.

mod acceptance;
mod draft_model;
mod lookup;
mod pays;
mod speculator;

use std::fmt;
use std::str::FromStr;

use crate::error::LoadError;
use crate::sched::SequenceId;

pub(crate) use draft_model::DraftModel;
pub(crate) use pays::MOST_ROWS;
pub(crate) use speculator::Speculator;

/// Which tokens are drafted. Written `off` or `lookup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// None.
    #[default]
    Off,
    /// Those that followed the same tokens before, in the prompt or in the answer; and with a draft model those that it
    /// finds likeliest.
    Lookup,
}

impl fmt::Display for Speculation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Lookup => "lookup",
        })
    }
}

impl FromStr for Speculation {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "lookup" => Ok(Self::Lookup),
            _ => Err(LoadError::InvalidOption(format!(
                "the speculation is {text:?}; set it to off or lookup"
            ))),
        }
    }
}

/// The number of drafted tokens since the start of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DraftTotals {
    /// Tokens that were drafted and computed.
    pub drafted: u64,
    /// Those of them that became tokens of answers.
    pub accepted: u64,
}

/// The kinds of drafters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DraftKind {
    Lookup,
    Model,
}

/// Guesses the next tokens of sequences.
trait Drafter: fmt::Debug + Send {
    /// Returns its kind.
    fn kind(&self) -> DraftKind;

    /// Returns whether it has a guess for a sequence with these tokens, prompt and answer.
    fn can_draft(&mut self, id: SequenceId, tokens: &[u32]) -> bool;

    /// Appends up to `count` guessed tokens to `draft`. Called after [`can_draft`](Self::can_draft) with the same
    /// tokens.
    fn draft(&mut self, id: SequenceId, tokens: &[u32], count: usize, draft: &mut Vec<u32>);

    /// Returns the time that it takes for one token, in seconds.
    fn seconds_per_token(&self) -> f64;

    /// Forgets a sequence that has ended.
    fn forget(&mut self, id: SequenceId);
}
