//! `qwen-queue-worker`: the command `qwen-queue worker` as a binary of its own.

use std::io::Write;
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
    /// Serve a LoRA adapter under this name beside the model; may be given several times. Goes before
    /// LORA_ADAPTERS.
    #[arg(long, value_name = "NAME=PATH")]
    lora: Vec<String>,
}

fn main() -> ExitCode {
    let Cli { config, lora } = Cli::parse();
    match worker::process::run(config.as_deref(), &lora) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is no other place to report this error.
            let line = service::logs::exit_line("qwen-queue-worker", &error);
            let _ = writeln!(std::io::stderr(), "{line}");
            worker::process::exit_code(&error)
        }
    }
}
