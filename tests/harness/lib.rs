//! # harness: real processes, real Redis, real sockets
//!
//! What the end-to-end tests stand on. Nothing is simulated: the binaries are those that users run,
//! Redis is Debian's, and death comes by `kill -9`.
//!
//! ## Layout
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | [`process`] | starts our binaries in a folder of their own, stops, freezes and kills them |
//! | [`redis`]   | a Redis of the test's own, on a free port, that can die and come back |
//! | [`cluster`] | three of them as a Redis Cluster |
//! | [`freezer`] | stops a single thread of a process |
//! | [`proxy`]   | a network in between that can be cut and healed |
//! | [`system`]  | gateways, workers and a Redis, each of which can die and come back |
//! | [`client`]  | submits and polls like any client |
//! | [`cli`]     | types like any person |
//! | [`terminal`] | what is typed where a terminal is needed |
//! | [`receiver`] | hears webhooks, well or badly behaved |
//! | [`hub`]     | gives out models, directly or as a proxy |
//! | [`models`]  | the small models that tests run |
//! | [`history`] | what was seen from outside |
//! | [`promise`] | judges a history: one outcome for each accepted task, and no way back |
//!
//! ## Data flow
//!
//! A test starts [`redis::RedisServer`] and some [`process::Process`]es, talks to them by
//! [`client::Client`], breaks something, and reads what is left in their folder. Fault tests start a
//! [`system::System`], note all they see in a [`history::History`], and have [`promise`] judge it.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod freezer;
pub mod history;
pub mod hub;
pub mod models;
pub mod process;
pub mod promise;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod system;
pub mod terminal;

use std::time::{Duration, Instant};

/// Waits until `condition` gives something, at most `limit`.
///
/// # Panics
/// When the time is up; the message names `what`.
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

/// A TCP port that nobody listens on.
///
/// # Panics
/// When the machine has none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
