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
//! | `measure`    | what the gateway counts, and reads for its metrics |
//! | `middleware` | wraps every request: id, log line, panics, headers |
//! | `dialects`   | one folder for each family of routes: its bodies, errors and streams |
//! | `dialect`    | `Dialect`: what such a folder provides |
//! | `describe`   | builds what dialects add to the OpenAPI document |
//! | `route`      | registers a route with its methods and how it is logged |
//! | `refusal`    | `Refusal`: why a request is refused, without a format |
//! | `auth`, `extract` | look credentials up by hash; extract the caller of a request |
//! | `owner`      | the names of owners |
//! | `images`     | checks images within a bound on memory, and downloads them |
//! | `attach`     | stores the images of a request and names them in its task |
//! | `loc`        | one step of the path to a value of a request |
//! | `body`       | reads a body with limits on size and time |
//! | [`validate`] | turns JSON into a request or the list of its problems; pure |
//! | `idempotency` | detects repeated submits |
//! | `records`    | what a dialect keeps beside a task |
//! | `charge`, `limited`, `limit_headers` | the limits that hold for a task; describe one that has no room, and the state of all |
//! | `usage`      | reports of use |
//! | `skill_requests`, `own_skills` | requests whose prompts skills write; rereads the operator's skills |
//! | `submit`     | turns a validated request into a queued task |
//! | `waiting`    | the wait of a request for the end of its task |
//! | `reuse`      | what requests and responses say about the result cache |
//! | `follow`     | follows a task: its events, its end |
//! | `batches`    | processes batches: files of requests |
//! | [`timetable`], [`periodic`] | the schedule of periodic tasks; submits them when they are due |
//! | `own_trace`  | begins the trace of a task that no request causes |
//! | `hangup`     | detects disconnected clients |
//! | `registry`   | the live workers and models, read once a second |
//! | `history`    | the queues' counters of the last hours, for plots |
//! | `state`, `patience` | data that all requests share; calls the broker with a timeout |
//!
//! ## Data flow
//!
//! ```text
//! socket ─▶ middleware ─▶ Caller ─▶ dialect: body, validate ─▶ submit (attach), follow ─▶ Broker
//!               ▲                                                      │
//!               └── dialect: reply, shape, stream ◀─ Refusal, Task, Step ┘
//! ```

mod attach;
mod auth;
mod batches;
mod body;
mod charge;
mod describe;
mod dialect;
mod dialects;
mod extract;
mod follow;
mod form;
mod hangup;
mod history;
mod http10;
mod idempotency;
mod images;
mod limit_headers;
mod limited;
mod listen;
mod loc;
mod measure;
mod middleware;
pub mod operators;
pub mod options;
mod order;
mod own_skills;
mod own_trace;
mod owner;
mod patience;
pub mod periodic;
pub mod process;
mod records;
mod refusal;
mod registry;
mod replies;
mod reuse;
mod route;
mod schemas;
pub mod server;
mod skill_requests;
mod state;
mod submit;
pub mod timetable;
mod usage;
pub mod validate;
mod waiting;

pub use listen::Listeners;
pub use options::Options;
pub use server::{ServeError, serve};
