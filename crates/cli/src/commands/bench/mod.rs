//! `qwen-queue bench`: benchmarks on this machine, and of deployments.
//!
//! | file            | what it does |
//! |-----------------|--------------|
//! | `engine/`       | measures how fast a model reads prompts and writes answers |
//! | `system.rs`     | measures what gateway, queue and worker cost compared with the bare engine |
//! | `server.rs`     | runs the same load on any model server |
//! | `mixed.rs`      | that load: clients in a closed loop |
//! | `contenders.rs` | the systems that answer it |
//! | `deployment/`   | sends tasks to a deployment, and says whether it meets goals |
//! | `chart.rs`      | draws charts |
//! | `queue/`        | measures how fast tasks pass through gateway, queue and worker, with an engine that computes nothing |
//! | `http.rs`       | runs the load generator of `queue/` on any HTTP server |
//! | `load.rs`       | that load generator |
//! | `processes.rs`  | starts and ends processes of this program |
//! | `redis.rs`      | starts a Redis for the bench, and reads its statistics |
//! | `cores.rs`      | reserves a core for Redis |
//! | `cpu.rs`        | reads the processor time of processes |
//! | `spread.rs`     | medians and 99th percentiles |

mod chart;
mod contenders;
mod cores;
mod cpu;
mod deployment;
mod engine;
mod http;
mod load;
mod mixed;
mod processes;
mod queue;
mod redis;
mod server;
mod spread;
mod system;

use std::path::Path;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure the rates of prefill and decode of a model.
    Engine(Box<engine::EngineBench>),
    /// Measure the whole system's share of the bare engine's rate.
    System(system::SystemBench),
    /// Measure the throughput of gateway, queue and worker without an engine.
    Queue(queue::QueueBench),
    /// Send tasks to a deployment, and measure what its clients see.
    #[command(after_help = deployment::EXAMPLES)]
    Load(Box<deployment::LoadBench>),
    /// Send one request to an HTTP server repeatedly, to compare other queues.
    #[command(hide = true)]
    Http(http::HttpBench),
    /// Run the mixed load of `bench engine` on a server, to compare other engines.
    #[command(hide = true)]
    Server(server::ServerBench),
}

/// Runs a benchmark and prints its figures.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Engine(args) => engine::run(*args),
        Bench::System(args) => system::run(&args),
        Bench::Queue(args) => queue::run(&args),
        Bench::Load(args) => deployment::run(&args),
        Bench::Http(args) => http::run(&args),
        Bench::Server(args) => server::run(&args),
    }
}

/// Writes the figures to a file, if one is given.
fn write_json(file: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}
