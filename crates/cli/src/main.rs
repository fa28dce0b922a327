//! # qwen-queue: everything in one command
//!
//! ## Layout
//!
//! | module             | what it does |
//! |--------------------|--------------|
//! | [`commands::up`]   | gateway, worker and embedded queue in one process |
//! | [`commands::task`] | the client's verbs: submit, status, result, watch, cancel |
//! | [`commands::bench`]| measures the engine and the queue |
//! | [`commands::model`]| tools around model files |
//! | [`client`]         | speaks the gateway's HTTP |
//!
//! `gateway` and `worker` run the same code as their own binaries.
//!
//! ## Data flow
//!
//! `up`, `gateway` and `worker` read [`service::Settings`] and run until a signal. The client's verbs
//! know nothing of queue or engine: they talk HTTP to a gateway, like any other client.

// A command line's place to speak is its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A distributed task queue for quantized Qwen inference.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    /// YAML file with settings (else QWEN_QUEUE_CONFIG, else qwen-queue.yaml if it exists).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: gateway, worker and queue. Needs nothing else.
    Up,
    /// Run the HTTP gateway alone. Needs REDIS_URL.
    Gateway,
    /// Run one worker alone. Needs REDIS_URL.
    Worker,
    /// Submit a prompt; prints the task id, or with --wait or --stream the answer.
    Submit(commands::task::Submit),
    /// Print a task's status.
    Status(commands::task::TaskArgs),
    /// Print a task's result.
    Result(commands::task::ResultArgs),
    /// Follow a task and print its text as it is generated.
    Watch(commands::task::TaskArgs),
    /// Cancel a task.
    Cancel(commands::task::TaskArgs),
    /// Measure this machine.
    #[command(subcommand)]
    Bench(commands::bench::Bench),
    /// Make and inspect model files.
    #[command(subcommand)]
    Model(commands::model::Model),
}

fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let config = config.as_deref();
    let result = match command {
        Command::Up => commands::up::run(config),
        Command::Gateway => gateway::process::run(config),
        Command::Worker => worker::process::run(config),
        Command::Submit(submit) => commands::task::submit(submit),
        Command::Status(args) => commands::task::status(&args),
        Command::Result(args) => commands::task::result(&args),
        Command::Watch(args) => commands::task::watch(&args),
        Command::Cancel(args) => commands::task::cancel(&args),
        Command::Bench(bench) => commands::bench::run(bench),
        Command::Model(model) => commands::model::run(model),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qwen-queue: {error:#}");
            ExitCode::FAILURE
        }
    }
}
