//! The log files, rotated daily: `app.log`, `llm_requests.log`, `errors.log` and `audit.log`. Their
//! formats are contracts; `app` implements that of `app.log`, the pure module `format` the others.
//!
//! The file of a day is `app.2025-11-21.log`; `app.log` links to the latest. Times are in UTC.
//! Separate threads do the writing, so no caller waits for a disk or a console; lines that arrive
//! faster than they are written are written together.
//!
//! | module   | what it does |
//! |----------|--------------|
//! | `app`    | formats `app.log` |
//! | `format` | formats the others |
//! | `task`   | [`TaskLog`]: writes an ended task's line and block, which stay pending in the queue until they are written |
//! | `audit`  | [`AuditLog`]: writes a line per act of an operator and per refused call |
//! | `flood`  | bounds the lines of refused calls |
//! | `last_words` | panics, and the reason of an end, on the console |
//! | `lookup` | searches for lines that a dead process may have written |
//! | `writer` | the writer threads: buffer lines, discard them when the buffer is full, send receipts |
//! | `output` | one file: counts its lines and reports failures |
//! | `daily`  | the file of the day: reopens it when it was moved, keeps lines whole |
//! | `counts` | [`LogCounts`]: written, waiting and lost lines |
//! | `paced`  | lets lines of the console be written together |
//! | `secrets` | removes the process's secrets from all output |

mod app;
mod audit;
mod counts;
mod daily;
mod flood;
mod format;
mod last_words;
mod lookup;
mod output;
mod paced;
mod secrets;
mod task;
mod writer;

use std::io::{self, BufWriter};
use std::path::PathBuf;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use counts::LogFile;
use daily::DailyFile;
use paced::Paced;
use secrets::{Redacted, Secrets};
use writer::{LogSender, Thread};

use crate::settings::{LogFormat, Settings};
pub use audit::AuditLog;
pub use counts::{FileCounts, LogCounts};
pub use format::AuditLine;
pub use last_words::exit_line;
pub use task::TaskLog;

/// Directives for modules whose informational messages are not useful to operators.
const QUIET_DIRECTIVE: &str = "actix_server=warn";
/// The target of the message that [`Logs::log_exit_error`] writes.
const EXIT_TARGET: &str = "exit";
/// Buffer size for `app.log`, in bytes.
const APP_BUFFER_BYTES: usize = 8 << 20;
/// Buffer size for `audit.log`, in bytes.
const AUDIT_BUFFER_BYTES: usize = 8 << 20;
/// Buffer size for the other two files together: enough for some 150,000 ended tasks.
const TASK_BUFFER_BYTES: usize = 32 << 20;

/// The open logs. Dropping it writes all buffered lines, so keep it until the process ends.
#[derive(Debug)]
pub struct Logs {
    tasks: TaskLog,
    audit: AuditLog,
    control: LogControl,
    // Fields drop in this order, so that messages about the end of the first are still written by
    // the others.
    _audit: Thread,
    _tasks: Thread,
    _app: Thread,
    _console: WorkerGuard,
}

/// Changes the logs while they are open.
#[derive(Clone)]
pub struct LogControl {
    log_senders: [LogSender; 3],
    filter: reload::Handle<EnvFilter, Registry>,
    secrets: Secrets,
}

impl LogControl {
    /// Reopens all files at their paths.
    pub fn reopen(&self) {
        self.log_senders.iter().for_each(LogSender::reopen);
    }

    /// Adds the secrets of changed settings to those removed from the output; earlier ones are
    /// still removed.
    pub fn add_secrets(&self, settings: &Settings) {
        self.secrets.add(settings);
    }

    /// Sets the filter to the value of a `LOG_LEVEL`.
    ///
    /// # Errors
    /// If it is not a valid `LOG_LEVEL`, or logging has ended.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(directives(level)).map_err(|error| error.to_string())?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogControl")
    }
}

/// The logs cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The folder cannot be created or written to.
    #[error(
        "the log folder {} can't be used: {source}; make it writable, or set LOG_DIR to another folder",
        .dir.display()
    )]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another logger is already installed.
    #[error("logging was already started in this process")]
    AlreadyStarted(#[from] TryInitError),
}

impl Logs {
    /// Opens the files in `LOG_DIR`, and sends `tracing` events to `app.log` and to stderr.
    ///
    /// # Errors
    /// If the folder cannot be used, or logging was already started in this process.
    pub fn start(settings: &Settings) -> Result<Self, LogsError> {
        let dir = &settings.log_dir;
        let refused = |source| LogsError::Folder { dir: dir.clone(), source };
        let open = |file: LogFile| DailyFile::open(dir, file.name()).map_err(refused);
        let counts = LogCounts::default();
        let secrets = Secrets::of(settings);

        let app = (LogFile::App, open(LogFile::App)?);
        let (app, app_thread) =
            writer::start(app, None, counts.clone(), APP_BUFFER_BYTES).map_err(refused)?;
        let app = app.without(&secrets);
        let (requests, errors) = (open(LogFile::Requests)?, open(LogFile::Errors)?);
        let requests = (LogFile::Requests, requests);
        let (tasks, task_thread) =
            writer::start(requests, Some(errors), counts.clone(), TASK_BUFFER_BYTES)
                .map_err(refused)?;
        let tasks = tasks.without(&secrets);
        let audit = (LogFile::Audit, open(LogFile::Audit)?);
        let (audit, audit_thread) =
            writer::start(audit, None, counts.clone(), AUDIT_BUFFER_BYTES).map_err(refused)?;
        let audit = audit.without(&secrets);

        // A blocked console must not block a compute thread, so lines are dropped instead.
        let console = Redacted::new(BufWriter::new(Paced(io::stderr())), secrets.clone());
        let (console, console_guard) = NonBlockingBuilder::default().lossy(true).finish(console);
        // `main` prints these on the console itself.
        let console = console.with_filter(|line| line.target() != EXIT_TARGET);

        let (filter, handle) = reload::Layer::new(EnvFilter::new(directives(&settings.log_level)));
        let filter = filter.and(filter_fn(secrets::event_may_be_logged));
        let json = settings.log_format == LogFormat::Json;
        let file = app.clone();
        let writers = (move || file.clone()).and(console);
        tracing_subscriber::registry()
            .with(app::layer(writers, json).with_filter(filter))
            .try_init()?;
        if json {
            last_words::speak_json();
        }
        let control = LogControl {
            log_senders: [app, tasks.clone(), audit.clone()],
            filter: handle,
            secrets,
        };
        Ok(Self {
            tasks: TaskLog::new(dir, tasks, counts, settings.log_task_details),
            audit: AuditLog::new(audit, json),
            control,
            _audit: audit_thread,
            _tasks: task_thread,
            _app: app_thread,
            _console: console_guard,
        })
    }

    /// Writes the reason why the process ends to `app.log`, and returns `result`, which `main`
    /// prints on the console.
    pub fn log_exit_error<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, E> {
        result.inspect_err(|error| tracing::error!(target: EXIT_TARGET, "{error:#}"))
    }

    /// Returns the writer of `llm_requests.log` and `errors.log`.
    pub fn tasks(&self) -> TaskLog {
        self.tasks.clone()
    }

    /// Returns the writer of `audit.log`.
    pub fn audit(&self) -> AuditLog {
        self.audit.clone()
    }

    /// Returns a handle that changes these logs while they are open.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// Returns the filter directives for a `LOG_LEVEL`.
fn directives(level: &str) -> String {
    format!("{QUIET_DIRECTIVE},{level}")
}
