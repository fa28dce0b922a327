//! How fast an engine reads prompts and writes answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::api::{GenerateError, Input, Progress, Request, Sampling};
use crate::kernels::pool;
use crate::runner::{Engine, EngineOptions, Generation};
use crate::{Finished, LoadError, ModelFile};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    /// The model.
    pub model: ModelFile,
    /// How the engine is set up; its batch is widened to the most streams.
    pub engine: EngineOptions,
    /// Lengths of prompts.
    pub prompts: Vec<usize>,
    /// Numbers of answers written at once.
    pub streams: Vec<usize>,
    /// Tokens of each stream's prompt.
    pub stream_prompt: usize,
    /// Tokens of each answer.
    pub answer: usize,
    /// Each figure is the median of so many.
    pub rounds: usize,
}

impl BenchOptions {
    /// The usual figures for a model.
    pub fn new(model: ModelFile) -> Self {
        Self {
            model,
            engine: EngineOptions { context_limit: Some(4096), ..EngineOptions::default() },
            prompts: vec![128, 512],
            streams: vec![1, 2, 4, 8, 16],
            stream_prompt: 32,
            answer: 64,
            rounds: 3,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BenchReport {
    /// `general.name` of the model, or its architecture.
    pub model: String,
    /// Its commonest weight format.
    pub quantization: String,
    /// How many weights.
    pub parameters: u64,
    /// Where it computed.
    pub device: String,
    /// Threads that computed.
    pub threads: usize,
    /// From nothing to ready.
    pub load_seconds: f64,
    /// The most memory the process has held so far, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// Reading prompts, one at a time.
    pub prompt: Vec<PromptRate>,
    /// Writing answers.
    pub decode: Vec<DecodeRate>,
}

/// How fast a prompt is read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PromptRate {
    /// Its tokens.
    pub tokens: usize,
    /// Tokens per second.
    pub tokens_per_second: f64,
}

/// How fast answers are written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DecodeRate {
    /// Answers at once.
    pub streams: usize,
    /// Tokens per second, of all together.
    pub tokens_per_second: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It could not compute.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// Loads the model and measures.
pub fn run(options: &BenchOptions) -> Result<BenchReport, BenchError> {
    let most = options.streams.iter().copied().max().unwrap_or(1);
    let max_batch = options.engine.max_batch.max(most);
    let begin = Instant::now();
    let engine =
        Engine::start(&options.model, &EngineOptions { max_batch, ..options.engine.clone() })?;
    let load_seconds = begin.elapsed().as_secs_f64();
    prompt_rate(&engine, 16)?; // the first pass touches everything for the first time
    let mut prompt = Vec::new();
    for tokens in &options.prompts {
        let rate = median(options.rounds, || prompt_rate(&engine, *tokens))?;
        prompt.push(PromptRate { tokens: *tokens, tokens_per_second: rate });
    }
    let mut decode = Vec::new();
    for streams in &options.streams {
        let measure = || decode_rate(&engine, *streams, options.stream_prompt, options.answer);
        let rate = median(options.rounds, measure)?;
        decode.push(DecodeRate { streams: *streams, tokens_per_second: rate });
    }
    let info = engine.info();
    Ok(BenchReport {
        model: info.name.clone().unwrap_or_else(|| info.architecture.clone()),
        quantization: info.quantization.clone(),
        parameters: info.parameters,
        device: info.device.clone(),
        threads: threads(),
        load_seconds,
        peak_memory_bytes: peak_memory(),
        prompt,
        decode,
    })
}

/// How many threads an engine computes with: `RAYON_NUM_THREADS`, or the physical cores that this
/// process may use.
pub fn threads() -> usize {
    pool::threads()
}

/// Tokens per second of reading one prompt of random tokens.
pub fn prompt_rate(engine: &Engine, tokens: usize) -> Result<f64, GenerateError> {
    let end = finish(engine.submit(&request(tokens, 1))?)?;
    Ok(tokens as f64 / end.prefill.as_secs_f64())
}

/// Tokens per second of `streams` answers, summed.
pub fn decode_rate(
    engine: &Engine,
    streams: usize,
    prompt: usize,
    answer: usize,
) -> Result<f64, GenerateError> {
    let running: Vec<Generation> =
        (0..streams).map(|_| engine.submit(&request(prompt, answer))).collect::<Result<_, _>>()?;
    let ends: Vec<Finished> = running.into_iter().map(finish).collect::<Result<_, _>>()?;
    // The first token comes with the prompt; all run side by side from then on.
    let rate = |end: &Finished| {
        (end.completion_tokens.saturating_sub(1)) as f64 / end.decode.as_secs_f64().max(1e-9)
    };
    Ok(ends.iter().map(rate).sum())
}

/// Random tokens: as good as any to a model of random weights, and to the clock. Each request is
/// another tenant's, so that no prompt is found computed.
fn request(tokens: usize, max_tokens: usize) -> Request {
    static NEXT_TENANT: AtomicU64 = AtomicU64::new(0);
    let mut random = StdRng::seed_from_u64(tokens as u64);
    Request {
        input: Input::Tokens((0..tokens).map(|_| random.random_range(0..500)).collect()),
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

fn median<E>(rounds: usize, mut measure: impl FnMut() -> Result<f64, E>) -> Result<f64, E> {
    let mut rates = (0..rounds.max(1)).map(|_| measure()).collect::<Result<Vec<_>, _>>()?;
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
