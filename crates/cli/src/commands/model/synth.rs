//! `model synth`: models with random weights.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use engine::synth::{SynthOptions, SynthQuant, SynthShape, synthesize, synthesize_with_draft};

use crate::output::Output;

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct Synth {
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
    /// Also write a model of the first layers to this file, which drafts for the model: its other layers change
    /// nothing, but take their time.
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
    /// The number of these layers.
    #[arg(long, default_value_t = 4, requires = "draft", value_parser = clap::value_parser!(u32).range(1..=1000))]
    draft_layers: u32,
}

/// Writes a model, and prints its path and size.
pub(super) fn synth(args: Synth, output: &mut Output) -> Result<()> {
    let Synth { shape, quant, context, seed, output: file, draft, draft_layers } = args;
    let shape = context.map_or(shape, |tokens| shape.with_context(tokens as usize));
    let shown = file.display().to_string();
    let options = SynthOptions { shape, quant, seed, output: file };
    let written = match &draft {
        Some(draft) => {
            synthesize_with_draft(&options, draft_layers as usize, draft).map(|sizes| sizes.0)
        }
        None => synthesize(&options, |_, _| {}),
    };
    let bytes = written.with_context(|| format!("{shown} can't be written"))?;
    let megabytes = bytes as f64 / 1e6;
    let told = format!("{shown}: {}, {}, {megabytes:.1} MB", shape.name, quant.name());
    Ok(output.line(&told)?)
}
