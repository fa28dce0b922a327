//! The limits of a step, and what one step does.

use crate::api::StopReason;

/// Names a sequence; ascending in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// The limits of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once.
    pub max_batch: usize,
    /// Tokens computed in one step: bounds how long running sequences wait for a new prompt.
    pub step_tokens: usize,
}

/// A piece of a sequence that one step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence.
    pub id: SequenceId,
    /// First token.
    pub start: usize,
    /// How many tokens.
    pub len: usize,
    /// Whether it ends with the sequence's last token, so that the next one is sampled.
    pub samples: bool,
}

/// What one step does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// The tokens to compute; no sequence has more than one chunk.
    pub chunks: Vec<Chunk>,
    /// The sequences that were admitted, also those that were resumed.
    pub admitted: Vec<SequenceId>,
    /// The sequences that were preempted because pages ran out.
    pub preempted: Vec<SequenceId>,
    /// How many prompt tokens of which sequence were found in pages that others had computed.
    pub cached: Vec<(SequenceId, usize)>,
    /// The sequences that ended before the step, and why.
    pub ended: Vec<(SequenceId, StopReason)>,
}

impl StepPlan {
    /// Empties it for the next step and keeps its memory.
    pub(super) fn clear(&mut self) {
        let Self { chunks, admitted, preempted, cached, ended } = self;
        chunks.clear();
        admitted.clear();
        preempted.clear();
        cached.clear();
        ended.clear();
    }
}
