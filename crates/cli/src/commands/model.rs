//! Tools for model files.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use engine::synth::{SynthOptions, SynthQuant, SynthShape, synthesize};

use crate::output::Output;

/// Operations on model files.
#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Write a model with random weights and the shape of a published one, for benchmarks.
    Synth {
        /// The shape, e.g. qwen3-0.6b; an unknown name lists all shapes.
        #[arg(long, default_value = "qwen3-0.6b")]
        shape: SynthShape,
        /// The format of the weights: q4_k_m, q8_0, f16 or f32.
        #[arg(long, default_value = "q4_k_m")]
        quant: SynthQuant,
        /// The context length in tokens [default: the shape's].
        #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
        context: Option<u32>,
        /// The seed of the weights; the same seed writes the same file.
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
