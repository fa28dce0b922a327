//! `qwen-queue-worker`: the same as `qwen-queue worker`, without the rest.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// qwen-queue's worker as a process of its own. Settings come from the environment, .env and a YAML file.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// YAML file with settings (else QWEN_QUEUE_CONFIG, else qwen-queue.yaml if it exists).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[allow(clippy::print_stderr)] // the last word of a process that could not start
fn main() -> ExitCode {
    match worker::process::run(Cli::parse().config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qwen-queue-worker: {error:#}");
            worker::process::exit_code(&error)
        }
    }
}
