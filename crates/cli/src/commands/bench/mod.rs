//! Measures this machine.
//!
//! | file        | what it measures |
//! |-------------|------------------|
//! | `engine.rs` | how fast a model reads and writes |
//! | `queue/`    | how fast tasks pass through gateway, queue and worker, with an engine that computes nothing |
//! | `http.rs`   | any HTTP server, with the load generator that `queue/` uses |
//! | `load.rs`   | that load generator |
//! | `spread.rs` | medians and 99th percentiles |

mod engine;
mod http;
mod load;
mod queue;
mod spread;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure how fast a model reads prompts and writes answers.
    Engine(engine::EngineBench),
    /// Measure how fast tasks pass through gateway, queue and worker.
    Queue(queue::QueueBench),
    /// Send one request to an HTTP server, again and again. For comparisons with other queues.
    #[command(hide = true)]
    Http(http::HttpBench),
}

/// Measures and prints.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Engine(args) => engine::run(args),
        Bench::Queue(args) => queue::run(&args),
        Bench::Http(args) => http::run(&args),
    }
}
