//! # harness: real processes, a real Redis, real sockets
//!
//! Support for the end-to-end tests. Nothing is simulated: the binaries are those that users run,
//! Redis is Debian's package, and processes die by `kill -9`.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`process`]  | starts, stops, freezes and kills qwen-queue's binaries, each in a folder of its own |
//! | [`redis`]    | starts a Redis per test, on a free port, that can be killed and restarted |
//! | [`cluster`]  | starts three of them as a Redis Cluster |
//! | [`sentinel`] | starts a primary, a replica, and Sentinels that watch them |
//! | [`clock`]    | a clock that a test moves |
//! | [`freezer`]  | stops a single thread of a process |
//! | [`proxy`]    | a TCP proxy that can be cut and healed |
//! | [`http_proxy`] | an HTTP proxy that forwards requests and opens tunnels |
//! | [`system`]   | gateways, workers and a Redis, each of which can be killed and restarted |
//! | [`client`]   | an HTTP client that submits and polls |
//! | [`cli`]      | runs `qwen-queue` commands |
//! | [`terminal`] | runs `qwen-queue` commands in a terminal |
//! | [`receiver`] | a receiver of webhooks, well or badly behaved |
//! | [`hub`]      | serves models, directly or as a proxy |
//! | [`models`]   | the small models that tests run |
//! | [`history`]  | observations from outside the system |
//! | [`promise`]  | checks a history: one outcome for each accepted task, and states only move forward |
//!
//! ## Data flow
//!
//! A test starts a [`redis::RedisServer`] and some [`process::Process`]es, sends requests by
//! [`client::Client`], breaks something, and reads the files in the processes' folders. Fault tests
//! start a [`system::System`], record all observations in a [`history::History`], and check it with
//! [`promise`].

pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod freezer;
pub mod history;
pub mod http_proxy;
pub mod hub;
pub mod models;
pub mod process;
pub mod promise;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod sentinel;
pub mod system;
pub mod terminal;

use std::time::{Duration, Instant};

/// Polls `condition` until it returns `Some`, for at most `limit`, and returns the value.
///
/// # Panics
/// If the limit passes; the message contains `what`.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a TCP port on which nothing listens.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
