//! Decides which sequences compute next. Pure: no tensor, no clock, no thread.
//!
//! A [`Sequence`] is a task inside the engine. In every step, [`Scheduler::schedule`] returns which tokens
//! of which sequences to compute. `docs/ENGINE.md` states the rule and its bounds.

mod plan;
mod scheduler;
mod sequence;

#[cfg(test)]
mod tests;

pub use plan::{Chunk, Limits, SequenceId, StepPlan};
pub use scheduler::{ANSWER_HEADROOM, Scheduler};
pub use sequence::{CancelFlag, Sequence};
