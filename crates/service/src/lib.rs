//! # service: what every process of the system shares
//!
//! A gateway, a worker and `qwen-queue up` differ in what they do and agree in how they behave as
//! services. That agreement stands here, once.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`settings`] | defaults < YAML file < `.env` < environment, checked at start, all problems at once |
//! | [`logs`]     | `app.log`, `llm_requests.log`, `errors.log`: the formats are contracts |
//! | [`process`]  | the above and below, around a process's own work |
//! | [`broker`]   | opens the queue that the settings name |
//! | [`store`]    | refuses a store that can't do what the queue needs, warns when one changes |
//! | [`reaper`]   | puts the tasks of dead workers back, logs the ends that no worker saw |
//! | [`reload`]   | SIGHUP: log files and settings again |
//! | [`shutdown`] | SIGTERM and SIGINT as one token that everything listens to |
//!
//! ## Data flow
//!
//! ```text
//! file, .env, environment ─▶ Settings ─┬─▶ Logs ─▶ logs/*.log, stderr
//!                                      ├─▶ Arc<dyn Broker>
//!                                      └─▶ the gateway's and the worker's own options
//! ```

pub mod broker;
pub mod logs;
pub mod process;
pub mod reaper;
pub mod reload;
pub mod settings;
pub mod shutdown;
pub mod store;

pub use logs::{Logs, TaskLog};
pub use process::Process;
pub use settings::{Settings, SettingsError};
