//! The engine beside candle-transformers' `quantized_qwen3`: the same file, the same process, the
//! same threads, round by round in turn, so that whatever else the machine does hits both.
//!
//! ```text
//! cargo bench -p qwen-queue-engine                     a synthetic Qwen3-0.6B, Q4_K_M
//! cargo bench -p qwen-queue-engine -- MODEL.gguf 9     another file (Qwen3), nine rounds
//! ```
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

const DECODE_PROMPT: usize = 128;
const DECODE_TOKENS: usize = 64;

/// candle-transformers' model, as its own example runs it.
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

    fn prompt_rate(&mut self, tokens: usize) -> Result<f64, Box<dyn Error>> {
        self.0.clear_kv_cache();
        let prompt: Vec<u32> = (0..tokens as u32).map(|token| token * 7 % 500).collect();
        let begin = Instant::now();
        self.step(&prompt, 0)?;
        Ok(tokens as f64 / begin.elapsed().as_secs_f64())
    }

    fn decode_rate(&mut self) -> Result<f64, Box<dyn Error>> {
        self.0.clear_kv_cache();
        let prompt: Vec<u32> = (0..DECODE_PROMPT as u32).map(|token| token * 7 % 500).collect();
        let mut token = self.step(&prompt, 0)?;
        let begin = Instant::now();
        for step in 0..DECODE_TOKENS {
            token = self.step(&[token], DECODE_PROMPT + step)?;
        }
        Ok(DECODE_TOKENS as f64 / begin.elapsed().as_secs_f64())
    }
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
    // cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = arguments.next().map_or_else(synthetic, |path| Ok(path.into()))?;
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse::<usize>())?;

    let options = EngineOptions { context_limit: Some(4096), ..EngineOptions::default() };
    let engine = Engine::start(&ModelFile::Path(path.clone()), &options)?;
    let mut candle = Candle::load(&path)?;
    println!("{}", path.display());

    let rows = ["prompt of 128", "prompt of 512", "decode, 1 stream"];
    let mut rates = vec![(Vec::new(), Vec::new()); rows.len()];
    for round in 0..=rounds {
        let ours = [
            bench::prompt_rate(&engine, 128)?,
            bench::prompt_rate(&engine, 512)?,
            bench::decode_rate(&engine, 1, DECODE_PROMPT, DECODE_TOKENS + 1)?,
        ];
        let theirs = [candle.prompt_rate(128)?, candle.prompt_rate(512)?, candle.decode_rate()?];
        if round > 0 {
            // the first round lays out the weights
            for (index, rates) in rates.iter_mut().enumerate() {
                rates.0.push(ours[index]);
                rates.1.push(theirs[index]);
            }
        }
    }
    println!("| tok/s, median of {rounds} | engine | candle-transformers | ratio (least..most) |");
    println!("|---|---|---|---|");
    for (row, (ours, theirs)) in rows.iter().zip(&rates) {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "| {row} | {:.1} | {:.1} | {:.2} ({:.2}..{:.2}) |",
            median(ours),
            median(theirs),
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1],
        );
    }
    Ok(())
}

fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
