//! Who computes next. Pure: no tensor, no clock, no thread.
//!
//! A [`Sequence`] is a task inside the engine. Every step, [`Scheduler::schedule`] says which
//! tokens of which sequences are computed.

mod scheduler;
mod sequence;

#[cfg(test)]
mod tests;

pub use scheduler::{ANSWER_HEADROOM, Chunk, Limits, Scheduler, StepPlan};
pub use sequence::{CancelFlag, Sequence, SequenceId};
