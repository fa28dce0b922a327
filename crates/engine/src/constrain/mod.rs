//! Answers that keep a constraint: which tokens may come next is found out while the model computes.
//!
//! ```text
//! compute thread   sample ─ accept(token) ──┬── forward pass of the next step ──┬─ allowed ─ sample
//!                                           │ Job { matcher }                   │ Prepared { matcher, mask }
//! mask threads                              └─▶ Matcher::mask ──────────────────┘
//! ```
//!
//! A sequence's matcher changes hands with the job, so nothing is locked. It belongs to the stream, not
//! to the pages: a sequence that is put back and computed again goes on where its constraint was.

mod masks;
mod reasoning;

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender};

use grammar::{Constraint, ConstraintError, Grammars, Mask, Matcher, Token};

use crate::sample::AllowedTokens;
use crate::text::Tokenizer;
use masks::{Job, MaskThreads, Prepared};
pub(crate) use reasoning::Reasoning;

/// Keeps constraints for one model. What that takes is set up when the first is asked for.
#[derive(Debug, Default)]
pub(crate) struct Constraints(OnceLock<Result<Ready, ConstraintError>>);

#[derive(Debug)]
struct Ready {
    grammars: Grammars,
    threads: MaskThreads,
}

impl Constraints {
    /// Begins an answer that keeps a constraint; its first mask is on its way.
    ///
    /// # Errors
    /// Why the constraint can't be kept.
    pub(crate) fn begin(
        &self,
        constraint: &Constraint,
        tokenizer: &Tokenizer,
    ) -> Result<Constrained, ConstraintError> {
        let ready = self.0.get_or_init(|| {
            let tokens = tokenizer.pieces().map(|(bytes, hidden)| match hidden {
                true => Token::Hidden,
                false => Token::Bytes(bytes),
            });
            let grammars = Grammars::new(tokens, tokenizer.ends())?;
            Ok(Ready { grammars, threads: MaskThreads::start() })
        });
        let Ready { grammars, threads } = ready.as_ref().map_err(Clone::clone)?;
        Ok(Constrained::new(grammars.begin(constraint)?, threads.jobs()))
    }
}

/// The constraint of one sequence, and where its answer stands in it.
#[derive(Debug)]
pub(crate) struct Constrained {
    jobs: Sender<Job>,
    /// The matcher is here, or will come back here with the next mask.
    prepared: Receiver<Prepared>,
    current: Option<(Matcher, Mask)>,
}

impl Constrained {
    fn new(matcher: Matcher, jobs: Sender<Job>) -> Self {
        let prepared = Job::send(matcher, &jobs);
        Self { jobs, prepared, current: None }
    }

    /// Which tokens may come next. Waits for the mask, if it is not there yet.
    ///
    /// # Errors
    /// The constraint can't be followed any further.
    pub(crate) fn allowed(&mut self) -> Result<AllowedTokens<'_>, ConstraintError> {
        let current = match self.current.take() {
            Some(current) => current,
            None => self.prepared.recv().unwrap_or_else(|_| Err(masks::gone()))?,
        };
        let (_, mask) = self.current.insert(current);
        Ok(AllowedTokens::new(mask.words()))
    }

    /// Takes the token that was drawn, and has the next mask computed; true if the answer is whole and
    /// nothing may follow.
    ///
    /// # Errors
    /// As [`Self::allowed`].
    pub(crate) fn accept(&mut self, token: u32) -> Result<bool, ConstraintError> {
        let Some((mut matcher, _)) = self.current.take() else { return Err(masks::gone()) };
        matcher.accept(token)?;
        if matcher.is_complete() {
            return Ok(true);
        }
        self.prepared = Job::send(matcher, &self.jobs);
        Ok(false)
    }
}
