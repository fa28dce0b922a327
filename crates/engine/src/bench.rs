//! How fast an engine reads prompts and writes answers.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Finished;
use crate::api::{GenerateError, Input, Progress, Request, Sampling};
use crate::kernels::pool;
use crate::runner::{Engine, Generation};

/// How many threads an engine computes with: `RAYON_NUM_THREADS`, or the physical cores that this
/// process may use.
pub fn threads() -> usize {
    pool::threads()
}

/// Tokens per second of reading one prompt of random tokens.
///
/// # Errors
/// When the engine refuses the prompt, or fails.
pub fn prompt_rate(engine: &Engine, tokens: usize) -> Result<f64, GenerateError> {
    let end = finish(engine.submit(&random_request(tokens, 1))?)?;
    Ok(tokens as f64 / end.prefill.as_secs_f64())
}

/// Tokens per second of `streams` answers, summed.
///
/// # Errors
/// When the engine refuses the prompt, or fails.
pub fn decode_rate(
    engine: &Engine,
    streams: usize,
    prompt: usize,
    answer: usize,
) -> Result<f64, GenerateError> {
    let requests = (0..streams).map(|_| engine.submit(&random_request(prompt, answer)));
    let running: Vec<Generation> = requests.collect::<Result<_, _>>()?;
    let ends: Vec<Finished> = running.into_iter().map(finish).collect::<Result<_, _>>()?;
    // The first token comes with the prompt; all run side by side from then on.
    let rate = |end: &Finished| {
        (end.completion_tokens.saturating_sub(1)) as f64 / end.decode.as_secs_f64().max(1e-9)
    };
    Ok(ends.iter().map(rate).sum())
}

/// Random tokens: as good as any to a model of random weights, and to the clock.
fn random_request(tokens: usize, max_tokens: usize) -> Request {
    let mut random = StdRng::seed_from_u64(tokens as u64);
    greedy(Input::Tokens((0..tokens).map(|_| random.random_range(0..500)).collect()), max_tokens)
}

/// A request for the likeliest answer. Each is another tenant's, so that no prompt is found computed.
pub fn greedy(input: Input, max_tokens: usize) -> Request {
    static NEXT_TENANT: AtomicU64 = AtomicU64::new(0);
    Request {
        input,
        sampling: Sampling::greedy(),
        max_tokens,
        stop: vec![],
        deadline: None,
        tenant: NEXT_TENANT.fetch_add(1, Ordering::Relaxed).to_string(),
        priority: 0,
    }
}

fn finish(mut generation: Generation) -> Result<Finished, GenerateError> {
    loop {
        match generation.next_blocking() {
            Some(Progress::Text { .. }) => {}
            Some(Progress::Finished(finished)) => return Ok(finished),
            Some(Progress::Failed(error)) => return Err(error),
            None => return Err(GenerateError::Stopped),
        }
    }
}
