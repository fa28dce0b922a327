//! How fast a model reads prompts and writes answers on this machine.

use std::fmt::Write;

use anyhow::Result;
use clap::Args;
use engine::bench::{self, BenchOptions, BenchReport};
use engine::source::{self, SourceOptions};
use engine::{DeviceChoice, EngineOptions, Quantization};

/// A model and what to do with it.
#[derive(Debug, Args)]
pub(crate) struct EngineBench {
    /// Hub repository with optional :quant, path to a .gguf file or a folder with safetensors, or demo. `qwen-queue model synth`
    /// writes true-to-size ones.
    #[arg(long, default_value = "demo")]
    model: String,
    /// none, 8bit or 4bit: what is made of safetensors, or which GGUF file of a repository is taken.
    #[arg(long)]
    quantization: Option<Quantization>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Prompt lengths, in tokens.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 512])]
    prompts: Vec<usize>,
    /// Answers written at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    streams: Vec<usize>,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 64)]
    answer: usize,
    /// Each figure is the median of so many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(super) fn run(args: EngineBench) -> Result<()> {
    let options = SourceOptions { quantization: args.quantization, ..SourceOptions::from_env() };
    let model = source::resolve(&args.model, &options)?;
    let defaults = BenchOptions::new(model);
    let report = bench::run(&BenchOptions {
        engine: EngineOptions { device: args.device, ..defaults.engine.clone() },
        prompts: args.prompts,
        streams: args.streams,
        answer: args.answer,
        rounds: args.rounds,
        ..defaults
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table(&report));
    }
    Ok(())
}

fn table(report: &BenchReport) -> String {
    let mut table = format!(
        "{}, {}, {:.1} M parameters, {} with {} threads; loaded in {:.1} s{}\n\n{:<24} tokens/s\n",
        report.model,
        report.quantization,
        report.parameters as f64 / 1e6,
        report.device,
        report.threads,
        report.load_seconds,
        report
            .peak_memory_bytes
            .map_or(String::new(), |bytes| format!(", peak memory {:.0} MB", bytes as f64 / 1e6)),
        ""
    );
    let mut row = |name: String, rate: f64| {
        writeln!(table, "{name:<24} {rate:8.1}").expect("writing to a String can't fail");
    };
    for rate in &report.prompt {
        row(format!("prompt of {}", rate.tokens), rate.tokens_per_second);
    }
    for rate in &report.decode {
        let plural = if rate.streams == 1 { "answer" } else { "answers together" };
        row(format!("{} {plural}", rate.streams), rate.tokens_per_second);
    }
    table
}
