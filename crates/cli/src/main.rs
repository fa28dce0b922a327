//! # qwen-queue: the command line program
//!
//! ## Layout
//!
//! | module                | what it does |
//! |-----------------------|--------------|
//! | [`commands::up`]      | runs gateway, worker and embedded queue in one process |
//! | [`commands::task`]    | the clients' commands: submit, status, result, watch, cancel |
//! | [`commands::skill`]   | lists, runs and checks skills |
//! | [`commands::operate`] | the operators' commands: queues, workers, pause, resume, drain, tasks, schedule, dead, keys, usage |
//! | [`top`]               | the operators' live view |
//! | [`logs`]              | prints, follows and summarizes the log files, reports on them and exports them |
//! | [`commands::bench`]   | measures the engine and the queue |
//! | [`commands::model`]   | tools for model files |
//! | [`client`]            | HTTP clients of the gateway |
//! | [`output`]            | standard output and standard error, either of which may be closed at any time |
//! | [`table`], [`text`]   | format values and untrusted text for people |
//!
//! `gateway` and `worker` run the same code as the binaries of the same names.
//!
//! ## Data flow
//!
//! `up`, `gateway` and `worker` read [`service::Settings`] and run until a signal. The clients' and
//! the operators' commands use neither queue nor engine; they send HTTP requests to a gateway.

mod client;
mod commands;
mod logs;
mod output;
mod table;
mod text;
mod top;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use output::{Output, OutputError};

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
    #[command(after_help = commands::task::SUBMIT_EXAMPLES)]
    Submit(Box<commands::task::Submit>),
    /// Print a task's status.
    Status(commands::task::TaskArgs),
    /// Print a task's result.
    Result(commands::task::ResultArgs),
    /// Follow a task and print its text as it is generated.
    Watch(commands::task::TaskArgs),
    /// Cancel a task.
    Cancel(commands::task::TaskArgs),
    /// List, show, run or check skills: OCR, documents, objects, videos, agents, and your own.
    #[command(subcommand)]
    Skill(commands::skill::SkillCommand),
    /// Watch queues and workers live; pause models and drain workers.
    Top(top::Top),
    /// Print the queues: per model, the number of tasks queued, running and ended.
    Queues(commands::operate::Shown),
    /// Print the workers.
    Workers(commands::operate::Shown),
    /// Pause a model: submits are accepted, running tasks continue, no task is started.
    Pause(commands::operate::OneModel),
    /// Resume a paused model.
    Resume(commands::operate::OneModel),
    /// Drain a worker: it finishes its running tasks, claims no more and stops.
    Drain(commands::operate::OneWorker),
    /// List tasks by state, model, owner or age, or cancel those that are queued.
    Tasks(Box<commands::operate::tasks::TasksArgs>),
    /// List periodic tasks, run one now, or check the file of a schedule.
    #[command(subcommand)]
    Schedule(commands::operate::schedule::ScheduleCommand),
    /// List, show, replay or delete dead letters: tasks that used up their attempts.
    #[command(subcommand)]
    Dead(commands::operate::dead::Dead),
    /// Create, list, show, change, rotate or revoke managed API keys.
    #[command(subcommand)]
    Keys(commands::operate::keys::Keys),
    /// Print what owners, keys and models used: tasks, tokens, images and times.
    Usage(commands::operate::usage::UsageArgs),
    /// Print, follow or summarize the log files; report on ended tasks, or export them.
    Logs(logs::Logs),
    /// Measure this machine.
    #[command(subcommand)]
    Bench(commands::bench::Bench),
    /// Download, list, inspect and remove models; make models for benchmarks.
    #[command(subcommand)]
    Model(commands::model::Model),
}

/// Adapters to serve.
#[derive(Debug, clap::Args)]
struct Adapters {
    /// Serve a LoRA adapter under this name beside the model; may be repeated. Overrides LORA_ADAPTERS.
    #[arg(long, value_name = "NAME=PATH")]
    lora: Vec<String>,
}

fn main() -> ExitCode {
    let mut output = Output::standard();
    let result = match Cli::try_parse() {
        Ok(cli) => run(cli, &mut output),
        Err(error) if error.use_stderr() => {
            let _ = error.print(); // a failed write to standard error can be reported nowhere else
            return ExitCode::from(2);
        }
        // --help and --version
        Err(asked) => asked
            .print()
            .and_then(|()| std::io::stdout().flush())
            .map_err(|error| OutputError::from(error).into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.print_final_error(&error),
    }
}

fn run(Cli { config, command }: Cli, output: &mut Output) -> Result<()> {
    let config = config.as_deref();
    match command {
        Command::Up(adapters) => commands::up::run(config, &adapters.lora, output),
        Command::Gateway => gateway::process::run(config),
        Command::Worker(adapters) => worker::process::run(config, &adapters.lora),
        Command::Submit(submit) => commands::task::submit(&submit, output),
        Command::Status(args) => commands::task::status(&args, output),
        Command::Result(args) => commands::task::result(&args, output),
        Command::Watch(args) => commands::task::watch(&args, output),
        Command::Cancel(args) => commands::task::cancel(&args, output),
        Command::Skill(command) => commands::skill::run(&command, output),
        Command::Top(args) => top::run(&args, output),
        Command::Queues(args) => commands::operate::queues(&args, output),
        Command::Workers(args) => commands::operate::workers(&args, output),
        Command::Pause(args) => commands::operate::set_paused(&args, true, output),
        Command::Resume(args) => commands::operate::set_paused(&args, false, output),
        Command::Drain(args) => commands::operate::drain(&args, output),
        Command::Tasks(args) => commands::operate::tasks::run(&args, output),
        Command::Schedule(command) => commands::operate::schedule::run(&command, config, output),
        Command::Dead(dead) => commands::operate::dead::run(&dead, output),
        Command::Keys(keys) => commands::operate::keys::run(&keys, output),
        Command::Usage(args) => commands::operate::usage::usage(&args, output),
        Command::Logs(args) => logs::run(&args, config, output),
        Command::Bench(bench) => commands::bench::run(bench),
        Command::Model(model) => commands::model::run(model, config, output),
    }
}
