//! Answers that keep a constraint: which tokens may come next is a mask, computed in one of two places.
//!
//! ```text
//! beside the model:
//! compute thread   sample ─ accept(token) ──┬── forward pass of the next step ──┬─ allowed ─ sample
//!                                           │ Job { matcher }                   │ Prepared { matcher, mask }
//! mask threads                              └─▶ Matcher::mask ──────────────────┘
//!
//! where the token is drawn:
//! compute threads  sample ─ accept(token) ───── forward pass of the next step ──── Matcher::mask ─ sample
//! ```
//!
//! Beside the model a mask costs nothing where a core is free. Where the model computes on all of them, a
//! mask thread takes one from it, and all threads that share a product wait until it is back: a
//! short mask costs less where the token is drawn, the rows of a step being shared among all threads.
//!
//! A sequence's matcher changes hands with the job, so nothing is locked. It belongs to the stream, not
//! to the pages: a sequence that is put back and computed again goes on where its constraint was.

mod masks;
mod reasoning;

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use grammar::{Constraint, ConstraintError, Grammars, Matcher, Token};

use crate::kernels::pool;
use crate::sample::AllowedTokens;
use crate::text::Tokenizer;
use masks::{Job, MaskThreads, Prepared};
pub(crate) use reasoning::Reasoning;

/// Masks that take longer are computed beside the model even where it needs all cores: a step takes ten
/// times as long and more, and for one slow mask all its threads would wait.
const SHORT: Duration = Duration::from_millis(1);

/// Whether a core is free while the model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// One is, for every mask.
    Spare,
    /// The model computes on all of them.
    Busy,
}

impl Cores {
    /// Of a model that computes on the processor.
    pub(crate) fn beside_processor() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores > pool::threads() { Self::Spare } else { Self::Busy }
    }
}

/// Keeps constraints for one model. What that takes is set up when the first is asked for.
#[derive(Debug)]
pub(crate) struct Constraints {
    cores: Cores,
    ready: OnceLock<Result<Ready, ConstraintError>>,
}

#[derive(Debug)]
struct Ready {
    grammars: Grammars,
    threads: MaskThreads,
}

impl Constraints {
    pub(crate) fn new(cores: Cores) -> Self {
        Self { cores, ready: OnceLock::new() }
    }

    /// Begins an answer that keeps a constraint; its first mask is on its way.
    ///
    /// # Errors
    /// Why the constraint can't be kept.
    pub(crate) fn begin(
        &self,
        constraint: &Constraint,
        tokenizer: &Tokenizer,
    ) -> Result<Constrained, ConstraintError> {
        let ready = self.ready.get_or_init(|| {
            let tokens = tokenizer.pieces().map(|(bytes, hidden)| match hidden {
                true => Token::Hidden,
                false => Token::Bytes(bytes),
            });
            let grammars = Grammars::new(tokens, tokenizer.ends())?;
            Ok(Ready { grammars, threads: MaskThreads::start() })
        });
        let Ready { grammars, threads } = ready.as_ref().map_err(Clone::clone)?;
        Ok(Constrained::new(grammars.begin(constraint)?, threads.jobs(), self.cores))
    }
}

/// The constraint of one sequence, and where its answer stands in it.
#[derive(Debug)]
pub(crate) struct Constrained {
    jobs: Sender<Job>,
    cores: Cores,
    next: Next,
}

/// What is known of the tokens that may come next.
#[derive(Debug)]
enum Next {
    /// All of it.
    Known(Prepared),
    /// Nothing, until it is asked for.
    Unknown(Matcher),
    /// It is being found out beside the model; the matcher comes back with it.
    Awaited(Receiver<Result<Prepared, ConstraintError>>),
    /// Nothing any more: the constraint could not be followed, or the answer is whole.
    Over,
}

impl Constrained {
    fn new(matcher: Matcher, jobs: Sender<Job>, cores: Cores) -> Self {
        // How long the first mask takes is not known, and the prompt comes first anyway.
        let next = Next::Awaited(Job::send(matcher, &jobs));
        Self { jobs, cores, next }
    }

    /// Which tokens may come next. Waits for the mask, or computes it, if it is not there yet.
    ///
    /// # Errors
    /// The constraint can't be followed any further.
    pub(crate) fn allowed(&mut self) -> Result<AllowedTokens<'_>, ConstraintError> {
        let prepared = match std::mem::replace(&mut self.next, Next::Over) {
            Next::Known(prepared) => prepared,
            Next::Unknown(matcher) => Prepared::of(matcher)?,
            Next::Awaited(prepared) => prepared.recv().unwrap_or_else(|_| Err(masks::gone()))?,
            Next::Over => return Err(masks::gone()),
        };
        self.next = Next::Known(prepared);
        match &self.next {
            Next::Known(prepared) => Ok(AllowedTokens::new(prepared.mask.words())),
            _ => Err(masks::gone()),
        }
    }

    /// Takes the token that was drawn; true if the answer is whole and nothing may follow. Has the next
    /// mask computed beside the model, where a core is free for it or if this one took long.
    ///
    /// # Errors
    /// As [`Self::allowed`].
    pub(crate) fn accept(&mut self, token: u32) -> Result<bool, ConstraintError> {
        let Next::Known(Prepared { mut matcher, took, .. }) =
            std::mem::replace(&mut self.next, Next::Over)
        else {
            return Err(masks::gone());
        };
        matcher.accept(token)?;
        if matcher.is_complete() {
            return Ok(true);
        }
        self.next = if self.cores == Cores::Spare || took > SHORT {
            Next::Awaited(Job::send(matcher, &self.jobs))
        } else {
            Next::Unknown(matcher)
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::gguf::GgufFile;

    fn tokenizer() -> Tokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3");
        let file = GgufFile::open(folder.join("qwen3-f32.gguf")).unwrap();
        Tokenizer::from_gguf(&file).unwrap()
    }

    fn begin(cores: Cores, tokenizer: &Tokenizer) -> (Constraints, Constrained) {
        let schema = json!({"type": "array", "minItems": 4, "maxItems": 4, "items": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 6}, "count": {"type": "integer"}},
            "required": ["name", "count"],
            "additionalProperties": false,
        }});
        let constraints = Constraints::new(cores);
        let one = constraints.begin(&Constraint::JsonSchema(schema), tokenizer).unwrap();
        (constraints, one)
    }

    /// The masks of an answer that is drawn from them, and how many were computed beside.
    fn follow(cores: Cores, slow: bool, tokenizer: &Tokenizer) -> (Vec<Vec<u32>>, usize) {
        let (_constraints, mut one) = begin(cores, tokenizer);
        let (mut masks, mut beside) = (vec![], 0);
        for step in 0..1_000_usize {
            let allowed: Vec<u32> = one.allowed().unwrap().iter().collect();
            let Next::Known(prepared) = &mut one.next else { panic!("no mask") };
            // What a clock said must not decide what is tested.
            prepared.took = if slow { 2 * SHORT } else { Duration::ZERO };
            let token = allowed[step * 7_919 % allowed.len()];
            masks.push(allowed);
            if tokenizer.ends().contains(&token) || one.accept(token).unwrap() {
                return (masks, beside);
            }
            beside += usize::from(matches!(one.next, Next::Awaited(_)));
        }
        panic!("no end");
    }

    #[test]
    fn a_mask_is_the_same_wherever_it_is_computed() {
        let tokenizer = tokenizer();
        let (beside, count) = follow(Cores::Spare, false, &tokenizer);
        assert!(beside.len() > 20, "only {} tokens", beside.len());
        assert_eq!(count, beside.len() - 1);
        // Where no core is free, only what takes long is.
        assert_eq!(follow(Cores::Busy, false, &tokenizer), (beside.clone(), 0));
        assert_eq!(follow(Cores::Busy, true, &tokenizer), (beside, count));
    }

    #[test]
    fn what_can_not_be_followed_fails_and_stays_so() {
        let tokenizer = tokenizer();
        for cores in [Cores::Spare, Cores::Busy] {
            let (_constraints, mut one) = begin(cores, &tokenizer);
            let allowed: Vec<u32> = one.allowed().unwrap().iter().collect();
            let other = (0..).find(|token| !allowed.contains(token)).unwrap();
            let error = one.accept(other).unwrap_err();
            assert!(error.to_string().contains("could not be followed"), "{error}");
            assert!(one.allowed().is_err());
        }
    }
}
