//! `qwen-queue-gateway`: the command `qwen-queue gateway` as a binary of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// qwen-queue's gateway as a process of its own. Settings come from the environment, .env and a YAML file.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// YAML file with settings (else QWEN_QUEUE_CONFIG, else qwen-queue.yaml if it exists).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    match gateway::process::run(Cli::parse().config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is no other place to report this error.
            let line = service::logs::exit_line("qwen-queue-gateway", &error);
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}
