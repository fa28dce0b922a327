//! # service: the parts that all processes share
//!
//! Gateway, worker and `qwen-queue up` do different work, but have the same settings, logs, signals
//! and access to the queue. Those are implemented here.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`settings`] | reads defaults < YAML file < `.env` < environment; checks all values at start and reports all problems |
//! | [`logs`]     | writes `app.log`, `llm_requests.log`, `errors.log` and `audit.log`, whose formats are contracts |
//! | [`process`]  | runs a process's work with the other modules around it |
//! | [`blobs`]    | opens the blob store that the settings name, and reaps it |
//! | [`broker`]   | opens the queue that the settings name |
//! | [`store`]    | rejects a store that cannot do what the queue needs, warns when its configuration changes |
//! | [`reaper`]   | returns the tasks of dead workers to the queue, logs task ends that no worker logged |
//! | `usage`      | forgets old usage |
//! | [`traces`]   | makes spans of requests and attempts, and sends them to a collector |
//! | [`metrics`]  | counts what happens, serves the metrics on `METRICS_PORT` |
//! | [`reload`]   | on SIGHUP, reopens the log files and reads the settings again |
//! | [`shutdown`] | turns SIGTERM and SIGINT into one cancellation token |
//!
//! ## Data flow
//!
//! ```text
//! file, .env, environment ─▶ Settings ─┬─▶ Logs ─▶ logs/*.log, stderr
//!                                      ├─▶ Arc<dyn Broker>
//!                                      └─▶ the gateway's and the worker's own options
//! ```

pub mod blobs;
pub mod broker;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod reaper;
pub mod reload;
pub mod settings;
pub mod shutdown;
pub mod store;
pub mod traces;
mod usage;

pub use logs::{Logs, TaskLog};
pub use process::Process;
pub use settings::{Settings, SettingsError};
pub use traces::Traces;
