//! # qwen-queue: everything in one command
//!
//! ## Layout
//!
//! | module                | what it does |
//! |-----------------------|--------------|
//! | [`commands::up`]      | gateway, worker and embedded queue in one process |
//! | [`commands::task`]    | the clients' verbs: submit, status, result, watch, cancel |
//! | [`commands::operate`] | the operators' verbs: queues, workers, pause, resume, drain, dead |
//! | [`top`]               | the operators' live view |
//! | [`logs`]              | prints, follows and sums up the log files |
//! | [`commands::bench`]   | measures the engine and the queue |
//! | [`commands::model`]   | tools around model files |
//! | [`client`]            | speaks the gateway's HTTP, for clients and for operators |
//! | [`table`], [`text`], [`output`] | how values, and what models write, are shown to people |
//!
//! `gateway` and `worker` run the same code as their own binaries.
//!
//! ## Data flow
//!
//! `up`, `gateway` and `worker` read [`service::Settings`] and run until a signal. The clients' and the
//! operators' verbs know nothing of queue or engine: they talk HTTP to a gateway, like anybody else.

// A command line's place to speak is its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod commands;
mod logs;
mod output;
mod table;
mod text;
mod top;

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
    Up(Adapters),
    /// Run the HTTP gateway alone. Needs REDIS_URL.
    Gateway,
    /// Run one worker alone. Needs REDIS_URL.
    Worker(Adapters),
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
    /// Watch queues and workers live; pause models and drain workers.
    Top(top::Top),
    /// Print the queues: what waits, runs and ended, model by model.
    Queues(commands::operate::Shown),
    /// Print the workers.
    Workers(commands::operate::Shown),
    /// Hold a model's tasks back: submits are accepted, what runs goes on, nothing more is started.
    Pause(commands::operate::OneModel),
    /// Hand a paused model's tasks out again.
    Resume(commands::operate::OneModel),
    /// Ask a worker to end what it has and stop.
    Drain(commands::operate::OneWorker),
    /// Look at, replay or delete dead letters: tasks that used their attempts up.
    #[command(subcommand)]
    Dead(commands::operate::dead::Dead),
    /// Print, follow or sum up the log files.
    Logs(logs::Logs),
    /// Measure this machine.
    #[command(subcommand)]
    Bench(commands::bench::Bench),
    /// Make and inspect model files.
    #[command(subcommand)]
    Model(commands::model::Model),
}

/// Adapters to serve.
#[derive(Debug, clap::Args)]
struct Adapters {
    /// Serve a LoRA adapter under this name beside the model; may be given several times. Goes before
    /// LORA_ADAPTERS.
    #[arg(long, value_name = "NAME=PATH")]
    lora: Vec<String>,
}

fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let config = config.as_deref();
    let result = match command {
        Command::Up(adapters) => commands::up::run(config, &adapters.lora),
        Command::Gateway => gateway::process::run(config),
        Command::Worker(adapters) => worker::process::run(config, &adapters.lora),
        Command::Submit(submit) => commands::task::submit(submit),
        Command::Status(args) => commands::task::status(&args),
        Command::Result(args) => commands::task::result(&args),
        Command::Watch(args) => commands::task::watch(&args),
        Command::Cancel(args) => commands::task::cancel(&args),
        Command::Top(args) => top::run(&args),
        Command::Queues(args) => commands::operate::queues(&args),
        Command::Workers(args) => commands::operate::workers(&args),
        Command::Pause(args) => commands::operate::set_paused(&args, true),
        Command::Resume(args) => commands::operate::set_paused(&args, false),
        Command::Drain(args) => commands::operate::drain(&args),
        Command::Dead(dead) => commands::operate::dead::run(&dead),
        Command::Logs(args) => logs::run(&args, config),
        Command::Bench(bench) => commands::bench::run(bench),
        Command::Model(model) => commands::model::run(model),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qwen-queue: {error:#}");
            worker::process::exit_code(&error)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
