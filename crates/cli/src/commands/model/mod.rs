//! Tools for model files.

mod cache;
mod synth;

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;
use engine::source::SourceOptions;
use service::Settings;

use crate::output::Output;

/// Operations on model files.
#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Download a model to the cache, or continue a download; prints its path.
    Pull(cache::Pull),
    /// List the models in the cache.
    List(cache::List),
    /// Show a model's files and configuration.
    Show(cache::Show),
    /// Remove a model from the cache.
    Remove(cache::Remove),
    /// Write a model with random weights and the shape of a published one, for benchmarks.
    Synth(Box<synth::Synth>),
}

/// Runs the command.
pub(crate) fn run(model: Model, config: Option<&Path>, output: &mut Output) -> Result<()> {
    let options = || -> Result<SourceOptions> {
        log_to_stderr();
        Ok(worker::models::source_options(&Settings::load(config)?))
    };
    match model {
        Model::Pull(args) => cache::pull(&args, &options()?, output),
        Model::List(args) => cache::list(&args, &options()?, output),
        Model::Show(args) => cache::show(&args, &options()?, output),
        Model::Remove(args) => cache::remove(&args, &options()?, output),
        Model::Synth(args) => synth::synth(*args, output),
    }
}

/// Prints the engine's log lines, such as the progress and the retries of a download.
fn log_to_stderr() {
    let format = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
    // Fails if logging is set up already.
    let _ = format.with_target(false).with_level(false).try_init();
}
