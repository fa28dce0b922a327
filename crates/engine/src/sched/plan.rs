//! The limits of a step, and its plan.

use crate::api::StopReason;

/// The id of a sequence; ascending in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// The limits of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of running sequences.
    pub max_batch: usize,
    /// The maximum number of tokens computed per step: limits how long running sequences wait for a new prompt.
    pub step_tokens: usize,
}

/// A range of a sequence's tokens that one step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence.
    pub id: SequenceId,
    /// The first token.
    pub start: usize,
    /// The number of tokens.
    pub len: usize,
    /// Whether it ends with the sequence's last token, so that the next one is sampled.
    pub samples: bool,
    /// The number of drafted tokens that are computed after it.
    pub drafted: usize,
}

/// The plan of one step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// The tokens to compute; no sequence has more than one chunk.
    pub chunks: Vec<Chunk>,
    /// The sequences that were admitted, including resumed ones.
    pub admitted: Vec<SequenceId>,
    /// The sequences that were preempted because pages ran out.
    pub preempted: Vec<SequenceId>,
    /// The number of prompt tokens per sequence that were found in pages that others had computed.
    pub cached: Vec<(SequenceId, usize)>,
    /// The sequences that ended before the step, with the reason.
    pub ended: Vec<(SequenceId, StopReason)>,
}

impl StepPlan {
    /// Returns whether each chunk is the last token of its sequence, so that the step computes no prompt.
    pub(crate) fn only_decodes(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.samples && chunk.len == 1)
    }

    /// Returns the number of tokens that the step computes, drafted ones included.
    pub(crate) fn num_tokens(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len + chunk.drafted).sum()
    }

    /// Clears the plan for the next step, keeping its memory.
    pub(super) fn clear(&mut self) {
        let Self { chunks, admitted, preempted, cached, ended } = self;
        chunks.clear();
        admitted.clear();
        preempted.clear();
        cached.clear();
        ended.clear();
    }
}
