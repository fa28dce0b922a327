//! Constrained answers: computes a mask of the tokens that may come next, in one of two places.
//!
//! ```text
//! beside the model's pass:
//! compute thread   sample ─ accept(token) ──┬── forward pass of the next step ──┬─ allowed ─ sample
//!                                           │ Job { matcher }                   │ Prepared { matcher, mask }
//! mask threads                              └─▶ Matcher::mask ──────────────────┘
//!
//! while sampling:
//! compute threads  sample ─ accept(token) ───── forward pass of the next step ──── Matcher::mask ─ sample
//! ```
//!
//! Beside the model's pass a mask costs no time if a core is free. If the model uses all cores, a mask thread
//! takes one away, and all threads of a product wait for it; then a short mask costs less while sampling,
//! where the rows of a step are divided among all threads.
//!
//! A sequence's matcher moves with the job, so nothing is locked. It belongs to the stream, not to the
//! pages: a sequence that is preempted and recomputed continues where its constraint was.

mod masks;
mod reasoning;

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use chat::Constraint;
use grammar::{ConstraintError, Grammars, Matcher, Token};

use crate::kernels::pool;
use crate::sample::AllowedTokens;
use crate::text::Tokenizer;
use masks::{Job, MaskThreads, Prepared};
pub(crate) use reasoning::Reasoning;

/// Masks that take longer than this are computed beside the model's pass even if it uses all cores: a step takes
/// at least ten times as long, and all its threads would wait for one slow mask.
const SHORT: Duration = Duration::from_millis(1);

/// Whether a core is free while the model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// A core is free for every mask.
    Spare,
    /// The model uses all cores.
    Busy,
}

impl Cores {
    /// Returns the value for a model that computes on the CPU.
    pub(crate) fn for_cpu_model() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores > pool::threads() { Self::Spare } else { Self::Busy }
    }
}

/// Constrains answers of one model. Its compiler is created on first use.
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

    /// Starts a constrained answer, and requests its first mask.
    ///
    /// # Errors
    /// Returns why the constraint is not supported.
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

/// The constraint of one sequence, and its state in the answer.
#[derive(Debug)]
pub(crate) struct Constrained {
    jobs: Sender<Job>,
    cores: Cores,
    next: Next,
}

/// The state of the next mask.
#[derive(Debug)]
enum Next {
    /// Computed.
    Known(Prepared),
    /// Not computed until it is needed.
    Unknown(Matcher),
    /// Being computed on a mask thread, which returns the matcher with it.
    Awaited(Receiver<Result<Prepared, ConstraintError>>),
    /// No mask follows: the constraint could not be followed, or the answer is complete.
    Over,
}

impl Constrained {
    fn new(matcher: Matcher, jobs: Sender<Job>, cores: Cores) -> Self {
        // The time of the first mask is unknown, and the prompt is computed first anyway.
        let next = Next::Awaited(Job::send(matcher, &jobs));
        Self { jobs, cores, next }
    }

    /// Returns the tokens that may come next. Waits for the mask or computes it if necessary.
    ///
    /// # Errors
    /// Returns an error if the constraint can't be followed any further.
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

    /// Accepts a sampled token; returns true if the answer is complete and nothing may follow. Requests the next
    /// mask from the mask threads if a core is free or the last mask took long.
    ///
    /// # Errors
    /// Returns the errors of [`Self::allowed`].
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

    /// Returns the masks of an answer that is sampled from them, and how many were computed on mask threads.
    fn follow(cores: Cores, slow: bool, tokenizer: &Tokenizer) -> (Vec<Vec<u32>>, usize) {
        let (_constraints, mut one) = begin(cores, tokenizer);
        let (mut masks, mut beside) = (vec![], 0);
        for step in 0..1_000_usize {
            let allowed: Vec<u32> = one.allowed().unwrap().iter().collect();
            let Next::Known(prepared) = &mut one.next else { panic!("no mask") };
            // The measured time must not affect the test.
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
    fn token_masks_are_equal_on_the_mask_threads_and_the_engine_thread() {
        let tokenizer = tokenizer();
        let (beside, count) = follow(Cores::Spare, false, &tokenizer);
        assert!(beside.len() > 20, "only {} tokens", beside.len());
        assert_eq!(count, beside.len() - 1);
        // If no core is free, only slow masks are.
        assert_eq!(follow(Cores::Busy, false, &tokenizer), (beside.clone(), 0));
        assert_eq!(follow(Cores::Busy, true, &tokenizer), (beside, count));
    }

    #[test]
    fn a_disallowed_token_fails_the_constraint_permanently() {
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
