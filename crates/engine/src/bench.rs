//! Measures the speed of an engine: prefill, decode, and compiling constraints.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::api::{GenerateError, Input, Progress, Request};
use crate::kernels::pool;
use crate::runner::{Engine, Generation};
use crate::{Constraint, Finished};

/// Returns the number of threads that an engine computes with: `RAYON_NUM_THREADS` if set, else the
/// number of physical cores that this process may use.
pub fn threads() -> usize {
    pool::threads()
}

/// Measures prefill of one prompt of `tokens` random tokens, in tokens per second.
///
/// # Errors
/// If the engine refuses the prompt, or fails.
pub fn prompt_rate(engine: &Engine, tokens: usize) -> Result<f64, GenerateError> {
    let end = finish(engine.submit(&random_request(tokens, 1, 0))?)?;
    Ok(tokens as f64 / end.prefill.as_secs_f64())
}

/// Returns a JSON schema of a list of objects with strings, numbers and enums, so long that no answer
/// reaches its end.
pub fn endless_list() -> Constraint {
    Constraint::JsonSchema(json!({"type": "array", "minItems": 10_000, "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 40},
            "count": {"type": "integer", "minimum": 0},
            "state": {"enum": ["queued", "processing", "completed", "failed"]},
            "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["name", "count", "state", "size"],
        "additionalProperties": false,
    }}))
}

/// Measures how long it takes to submit a request with a constraint. The constraint is compiled during
/// that time, and for an engine's first constraint the vocabulary is sorted too.
///
/// # Errors
/// If the engine refuses the request, or fails.
pub fn submit_time(engine: &Engine, constraint: &Constraint) -> Result<Duration, GenerateError> {
    let request = Request { constraint: Some(constraint.clone()), ..random_request(1, 1, 0) };
    let begin = Instant::now();
    let running = engine.submit(&request)?;
    let took = begin.elapsed();
    finish(running)?;
    Ok(took)
}

/// The most tokens of the gate request's prompt (see [`decode_rate`]).
const GATE_PROMPT_TOKENS: usize = 512;
/// How long to wait until the engine has started the gate request.
const GATE_START_WAIT: Duration = Duration::from_millis(5);

/// Measures decoding of `streams` concurrent answers of `answer` tokens to different prompts of `prompt`
/// tokens. Returns the sum of their rates in tokens per second. The answers follow `constraint`, if it is
/// `Some`.
///
/// # Errors
/// If the engine refuses a prompt, or fails.
pub fn decode_rate(
    engine: &Engine,
    streams: usize,
    prompt: usize,
    answer: usize,
    constraint: Option<&Constraint>,
) -> Result<f64, GenerateError> {
    let request = |stream| Request {
        constraint: constraint.cloned(),
        ..random_request(prompt, answer, stream as u64)
    };
    let requests: Vec<Request> = (0..streams).map(request).collect();
    // An answer that starts while other prompts are prefilled would include their time, and the number of
    // such answers would vary from run to run. So all are submitted while the engine is busy with another
    // request, the gate, and start together.
    let context = engine.info().context_length;
    let gate =
        random_request((streams * prompt).min(GATE_PROMPT_TOKENS).min(context - 1).max(1), 1, 0);
    let gate = engine.submit(&gate)?;
    std::thread::sleep(GATE_START_WAIT);
    let requests = requests.iter().map(|request| engine.submit(request));
    let running: Vec<Generation> = requests.collect::<Result<_, _>>()?;
    finish(gate)?;
    let ends: Vec<Finished> = running.into_iter().map(finish).collect::<Result<_, _>>()?;
    // The first token is part of prefill; from then on all answers are decoded together.
    let rate = |end: &Finished| {
        (end.completion_tokens.saturating_sub(1)) as f64 / end.decode.as_secs_f64().max(1e-9)
    };
    Ok(ends.iter().map(rate).sum())
}

/// What a long prompt and short ones that come beside it cost each other.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// From the long prompt's submit to its first token, with nothing beside it.
    pub alone: Duration,
    /// Steps of that.
    pub alone_steps: u64,
    /// The same beside the short prompts.
    pub beside: Duration,
    /// Steps of that.
    pub beside_steps: u64,
    /// From each short prompt's submit to its first token.
    pub first_tokens: Vec<Duration>,
    /// Steps that ended meanwhile, as far as its client saw.
    pub first_steps: Vec<u64>,
}

/// Tokens of the short prompts of [`beside`], and of their answers.
pub const SHORT: (usize, usize) = (2, 16);

/// Computes a prompt of `long` tokens alone, and again beside so many clients, each of which submits a short prompt
/// as soon as its last one was answered.
///
/// # Errors
/// When the engine refuses a prompt, or fails.
pub fn beside(engine: &Engine, long: usize, clients: usize) -> Result<Beside, GenerateError> {
    let mut figures = Beside::default();
    (figures.alone, figures.alone_steps) = long_prompt(engine, long)?;
    let over = AtomicBool::new(false);
    let clients: Vec<_> = std::thread::scope(|scope| {
        let client = |client: usize| {
            let over = &over;
            scope.spawn(move || short_prompts(engine, client as u64, over))
        };
        let running = engine.submit(&random_request(long, 1, 1))?;
        let (begin, before) = (Instant::now(), engine.steps());
        // Its first step is over: it is being computed.
        while engine.steps() == before && engine.is_running() {
            std::thread::sleep(Duration::from_micros(100));
        }
        let clients: Vec<_> = (0..clients).map(client).collect();
        let ended = finish(running);
        over.store(true, Ordering::Relaxed);
        (figures.beside, figures.beside_steps) = (begin.elapsed(), engine.steps() - before);
        ended?;
        let join = |client: std::thread::ScopedJoinHandle<'_, _>| {
            client.join().unwrap_or(Err(GenerateError::Stopped))
        };
        clients.into_iter().map(join).collect::<Result<_, _>>()
    })?;
    let waits: Vec<(Duration, u64)> = clients.into_iter().flatten().collect();
    (figures.first_tokens, figures.first_steps) = waits.into_iter().unzip();
    Ok(figures)
}

/// How long a prompt alone takes until its first token, and how many steps.
fn long_prompt(engine: &Engine, tokens: usize) -> Result<(Duration, u64), GenerateError> {
    let (begin, before) = (Instant::now(), engine.steps());
    finish(engine.submit(&random_request(tokens, 1, 0))?)?;
    Ok((begin.elapsed(), engine.steps() - before))
}

/// Short prompts one after the other, until it is over: how long each waited for its first token, and how many steps.
fn short_prompts(
    engine: &Engine,
    client: u64,
    over: &AtomicBool,
) -> Result<Vec<(Duration, u64)>, GenerateError> {
    let (prompt, answer) = SHORT;
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let request = random_request(prompt, answer, 2 + client);
        let (begin, before) = (Instant::now(), engine.steps());
        let end = finish(engine.submit(&request)?)?;
        let decodes = end.completion_tokens.saturating_sub(1) as u64;
        let wait = begin.elapsed().saturating_sub(end.decode);
        waits.push((wait, (engine.steps() - before).saturating_sub(decodes)));
    }
    Ok(waits)
}

/// Returns a request with a prompt of random tokens: the content affects neither a model of random weights
/// nor the time.
fn random_request(tokens: usize, max_tokens: usize, seed: u64) -> Request {
    let mut random = StdRng::seed_from_u64(tokens as u64 ^ (seed << 32));
    greedy(Input::Tokens((0..tokens).map(|_| random.random_range(0..500)).collect()), max_tokens)
}

/// Returns a request decoded greedily. Each request has its own tenant, so that no prompt is found in the
/// prefix cache.
pub fn greedy(input: Input, max_tokens: usize) -> Request {
    Request { tenant: unique_tenant(), ..Request::greedy(input, max_tokens) }
}

/// Returns a tenant id that no other request has.
fn unique_tenant() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
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
