//! Measures this machine.
//!
//! | file            | what it measures |
//! |-----------------|------------------|
//! | `engine/`       | how fast a model reads and writes |
//! | `system.rs`     | what gateway, queue and worker cost a model |
//! | `server.rs`     | any server of models, with the same load |
//! | `mixed.rs`      | that load: clients in a closed loop |
//! | `contenders.rs` | who answers it |
//! | `queue/`        | how fast tasks pass through gateway, queue and worker, with an engine that computes nothing |
//! | `http.rs`       | any HTTP server, with the load generator that `queue/` uses |
//! | `load.rs`       | that load generator |
//! | `processes.rs`  | our processes, started and ended |
//! | `redis.rs`      | a Redis of the bench's own, and its statistics |
//! | `cpu.rs`        | processor time of processes |
//! | `spread.rs`     | medians and 99th percentiles |

mod contenders;
mod cores;
mod cpu;
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

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure how fast a model reads prompts and writes answers.
    Engine(engine::EngineBench),
    /// Measure how much of the engine's speed is left behind gateway, Redis and worker.
    System(system::SystemBench),
    /// Measure how fast tasks pass through gateway, queue and worker.
    Queue(queue::QueueBench),
    /// Send one request to an HTTP server, again and again. For comparisons with other queues.
    #[command(hide = true)]
    Http(http::HttpBench),
    /// Send the mixed load of `bench engine` to a server. For comparisons with other engines.
    #[command(hide = true)]
    Server(server::ServerBench),
}

/// Measures and prints.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Engine(args) => engine::run(args),
        Bench::System(args) => system::run(&args),
        Bench::Queue(args) => queue::run(&args),
        Bench::Http(args) => http::run(&args),
        Bench::Server(args) => server::run(&args),
    }
}

/// Writes the figures to a file, if one is wanted.
fn write_json(file: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}
