//! # gateway: the HTTP face
//!
//! Turns requests into tasks and what became of tasks into answers: authentication, validation,
//! routes, API docs. It computes nothing and keeps nothing; all state is the queue's, so any number
//! of gateways may run side by side.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`options`]  | [`Options`]: what the operator decides |
//! | [`process`]  | the gateway as a process: settings, logs, signals |
//! | [`server`]   | [`serve`]: runs on a socket, with the delivery of webhooks beside, and ends well |
//! | `listen`     | the sockets' side of it, on actix's parts |
//! | `http10`     | mends what clients of HTTP/1.0 leave out |
//! | [`validate`] | pure: JSON in, a request or all its problems out |
//! | `auth`       | who calls: hashed keys, compared in constant time |
//! | `body`       | reads a JSON body, bounded in size and time |
//! | `idempotency` | submits that repeat themselves |
//! | `error`      | why a request is refused, as status, headers and body |
//! | `replies`    | the bodies that answer |
//! | `state`      | what every request can reach; asks the broker with bounded patience |
//! | `feed`       | a task's events as an SSE stream |
//! | `wait`       | a request that stays open until its task ends |
//! | `hangup`     | notices clients that left |
//! | `routes`     | one file per route |
//! | `openapi`    | the API's description |
//! | `schemas`    | types that only document the API |
//! | `extract`    | lets requests with a known key in |
//! | `middleware` | around every request: id, log line, panics, headers |
//!
//! ## Data flow
//!
//! ```text
//! socket ─▶ middleware::observe ─▶ auth::Caller ─▶ body::read_json ─▶ validate ─▶ routes ─▶ Broker
//!                  ▲                                                                │
//!                  └───────────────── replies, error, feed ◀──── TaskSnapshot, Event ┘
//! ```

mod auth;
mod body;
mod error;
mod extract;
mod feed;
mod hangup;
mod http10;
mod idempotency;
mod listen;
mod middleware;
mod openapi;
pub mod options;
pub mod process;
mod replies;
mod routes;
mod schemas;
pub mod server;
mod state;
pub mod validate;
mod wait;

pub use options::Options;
pub use server::{ServeError, serve};
