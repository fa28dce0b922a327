//! # gateway: the HTTP API
//!
//! Turns requests into tasks and task states into responses: authentication, validation, routes and
//! API docs. It computes nothing and stores nothing; all state is in the queue, so any number of
//! gateways can run side by side.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`options`]  | [`Options`]: the configuration |
//! | [`process`]  | runs the gateway as a process: settings, logs, signals |
//! | [`server`]   | [`serve`]: serves a socket, delivers webhooks, shuts down gracefully |
//! | `listen`     | builds the HTTP server from actix's parts |
//! | `http10`     | adds the `Content-Length` that HTTP/1.0 clients omit |
//! | [`validate`] | turns JSON into a request or the list of its problems; pure |
//! | `auth`       | authenticates callers: hashed keys, compared in constant time |
//! | `body`       | reads a JSON body with limits on size and time |
//! | `idempotency` | detects repeated submits |
//! | `error`      | maps errors to status, headers and body |
//! | `replies`    | response bodies |
//! | `state`      | data that all requests share; calls the broker with a timeout |
//! | `feed`       | streams a task's events as SSE |
//! | `wait`       | waits for a task's end within one request |
//! | `hangup`     | detects disconnected clients |
//! | `routes`     | one file per route |
//! | `openapi`    | the OpenAPI document |
//! | `schemas`    | types that only document the API |
//! | `extract`    | extracts authenticated callers from requests |
//! | `middleware` | wraps every request: id, log line, panics, headers |
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
