//! Compares the engine with candle-transformers' `quantized_qwen3`: the same file, process and
//! threads, alternating round by round, so that other load on the machine affects both.
//!
//! ```text
//! cargo bench -p qwen-queue-engine                     a synthetic Qwen3-0.6B, Q4_K_M
//! cargo bench -p qwen-queue-engine -- MODEL.gguf 9     another file (Qwen3), nine rounds
//! ```
//!
//! Prints rates by the clock and by processor time. On a busy machine trust the latter, measured
//! with `RAYON_NUM_THREADS=1`: threads that wait for each other spin, and spinning counts as
//! processor time.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::quantized::gguf_file;
use candle_core::{D, Device, Tensor};
use candle_transformers::models::quantized_qwen3::ModelWeights;
use engine::synth::{SynthOptions, SynthQuant, synthesize};
use engine::{Engine, EngineOptions, ModelFile, bench};

/// The cases: a label, the tokens of the prompt, and how many tokens are generated after it.
const ROWS: [(&str, usize, usize); 3] =
    [("prompt of 128", 128, 0), ("prompt of 512", 512, 0), ("decode, 1 stream", 1, 64)];

/// candle-transformers' model, run as in candle's own example.
struct Candle(ModelWeights);

impl Candle {
    fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut file = File::open(path)?;
        let content = gguf_file::Content::read(&mut file)?;
        Ok(Self(ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?))
    }

    fn step(&mut self, tokens: &[u32], offset: usize) -> Result<u32, Box<dyn Error>> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.0.forward(&input, offset)?;
        Ok(logits.argmax(D::Minus1)?.to_vec1::<u32>()?[0])
    }

    fn run(&mut self, prompt: usize, decode: usize) -> Result<(), Box<dyn Error>> {
        self.0.clear_kv_cache();
        let tokens: Vec<u32> = (0..prompt as u32).map(|token| token * 7 % 500).collect();
        let mut token = self.step(&tokens, 0)?;
        for step in 0..decode {
            token = self.step(&[token], prompt + step)?;
        }
        Ok(())
    }
}

/// Seconds of wall-clock time and of processor time.
#[derive(Clone, Copy)]
struct TimeSpent {
    wall: f64,
    processor: f64,
}

fn measure(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<TimeSpent, Box<dyn Error>> {
    let (begin, processor) = (Instant::now(), process_cpu_seconds());
    work()?;
    let wall = begin.elapsed().as_secs_f64();
    Ok(TimeSpent { wall, processor: process_cpu_seconds() - processor })
}

/// Returns the processor time of all threads of this process in seconds; 0 where the system has no
/// `/proc/self/task`.
fn process_cpu_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn synthetic() -> Result<PathBuf, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("synthetic-qwen3-0.6b-q4_k_m.gguf");
    if !path.exists() {
        let shape = "qwen3-0.6b".parse()?;
        let output = path.clone();
        let options = SynthOptions { shape, quant: SynthQuant::Q4KM, seed: 1, output };
        synthesize(&options, |_, _| ())?;
    }
    Ok(path)
}

fn main() -> Result<(), Box<dyn Error>> {
    // Skips the `--bench` that cargo adds.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = arguments.next().map_or_else(synthetic, |path| Ok(path.into()))?;
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse::<usize>())?;

    let options = EngineOptions { context_limit: Some(4096), ..EngineOptions::default() };
    let engine = Engine::start(&ModelFile::Path(path.clone()), &options)?;
    let mut candle = Candle::load(&path)?;
    let threads = bench::threads();
    println!("{}, {threads} threads, {rounds} rounds", path.display());

    let mut spent = vec![Vec::new(); ROWS.len()];
    for round in 0..=rounds {
        for ((_, prompt, decode), spent) in ROWS.iter().zip(&mut spent) {
            let ours = measure(|| {
                bench::decode_rate(&engine, 1, *prompt, decode + 1, None)?;
                Ok(())
            })?;
            let theirs = measure(|| candle.run(*prompt, *decode))?;
            if round > 0 {
                spent.push((ours, theirs)); // not the first round, which lays out the weights
            }
        }
    }
    println!("| | clock: engine | candle | ratio | processor: engine | candle | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for ((name, prompt, decode), spent) in ROWS.iter().zip(&spent) {
        let tokens = (prompt + decode) as f64;
        let column = |of: fn(&TimeSpent) -> f64| {
            let rate = |seconds: Vec<f64>| tokens / median(seconds);
            let ours = rate(spent.iter().map(|(ours, _)| of(ours)).collect());
            let theirs = rate(spent.iter().map(|(_, theirs)| of(theirs)).collect());
            let ratios = spent.iter().map(|(ours, theirs)| of(theirs) / of(ours)).collect();
            format!("{ours:.1} | {theirs:.1} | {:.2}", median(ratios))
        };
        let (clock, processor) = (column(|spent| spent.wall), column(|spent| spent.processor));
        println!("| {name} | {clock} | {processor} |");
    }
    println!("tokens per second of wall-clock and of processor time; medians");
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
