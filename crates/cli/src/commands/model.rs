//! Tools for model files.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use engine::synth::{SynthOptions, SynthQuant, SynthShape, synthesize};

use crate::output::Output;

/// What to do with model files.
#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Write a model of true size and random weights, for benchmarks.
    Synth {
        /// Whose shape, e.g. qwen3-0.6b; an unknown name lists all.
        #[arg(long, default_value = "qwen3-0.6b")]
        shape: SynthShape,
        /// q4_k_m, q8_0, f16 or f32.
        #[arg(long, default_value = "q4_k_m")]
        quant: SynthQuant,
        /// Tokens of its context [default: as the shape has it].
        #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
        context: Option<u32>,
        /// Same seed, same file.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// The file to write.
        #[arg(long, short)]
        output: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(model: Model, output: &mut Output) -> Result<()> {
    match model {
        Model::Synth { shape, quant, context, seed, output: file } => {
            let shape = context.map_or(shape, |tokens| shape.with_context(tokens as usize));
            let shown = file.display().to_string();
            let options = SynthOptions { shape, quant, seed, output: file };
            let bytes = synthesize(&options, |_, _| {})
                .with_context(|| format!("{shown} can't be written"))?;
            let megabytes = bytes as f64 / 1e6;
            let told = format!("{shown}: {}, {}, {megabytes:.1} MB", shape.name, quant.name());
            Ok(output.line(&told)?)
        }
    }
}
