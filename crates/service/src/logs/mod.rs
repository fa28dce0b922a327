//! The three log files, each with daily rotation: `app.log`, `llm_requests.log`, `errors.log`. Their
//! formats are contracts with scripts; `format` writes them and is pure, the rest moves bytes.
//!
//! A file of today is `app.2025-11-21.log`; `app.log` is a link to the latest. Times are UTC. Writing
//! happens on threads of its own, so no caller waits for a disk or a console; lines that come faster
//! than they are written go out together.
//!
//! | module   | what it does |
//! |----------|--------------|
//! | `app`    | the format of `app.log` |
//! | `format` | the formats of the other two |
//! | `task`   | [`TaskLog`]: an ended task's line and block, owed to the queue until they are written |
//! | `lookup` | looks for lines that a dead process may have written |
//! | `writer` | the threads: what waits, what is given up, who learns of it |
//! | `output` | one file: counts, tells trouble |
//! | `daily`  | the file of the day: opened again when it was moved, whole lines only |
//! | `counts` | [`LogCounts`]: written, waiting and lost lines |
//! | `secrets` | removes the process's secrets from all of it |

mod app;
mod counts;
mod daily;
mod format;
mod lookup;
mod output;
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
use secrets::{Redacted, Secrets};
use writer::{Inlet, Thread};

use crate::settings::{LogFormat, Settings};
pub use counts::{FileCounts, LogCounts};
pub use task::TaskLog;

/// Parts of the system that say more than an operator wants to hear.
const QUIET: &str = "actix_server=warn";
/// The target of [`Logs::last_words`].
const LAST_WORDS: &str = "exit";
/// Bytes of `app.log` that may wait for a disk or a slow writer.
const APP_ROOM: usize = 8 << 20;
/// The same for the other two together: some 150,000 ended tasks.
const TASK_ROOM: usize = 32 << 20;

/// The open logs. Dropping it writes what is buffered: keep it until the process ends.
#[derive(Debug)]
pub struct Logs {
    tasks: TaskLog,
    control: LogControl,
    // Dropped in this order: what the first has to say of its end goes to the others.
    _tasks: Thread,
    _app: Thread,
    _console: WorkerGuard,
}

/// Changes open logs.
#[derive(Clone)]
pub struct LogControl {
    inlets: [Inlet; 2],
    filter: reload::Handle<EnvFilter, Registry>,
    secrets: Secrets,
}

impl LogControl {
    /// Opens all files again, whatever lies at their paths now.
    pub fn reopen(&self) {
        self.inlets.iter().for_each(Inlet::reopen);
    }

    /// Keeps the secrets of changed settings out of the logs too; those of before stay out.
    pub fn add_secrets(&self, settings: &Settings) {
        self.secrets.add(settings);
    }

    /// Changes which events are logged, to a `LOG_LEVEL`.
    ///
    /// # Errors
    /// When it is none, or logging has ended.
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

/// The logs can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The folder can't be made or written to.
    #[error(
        "the log folder {} can't be used: {source}: make it writable or set LOG_DIR to another",
        .dir.display()
    )]
    Folder {
        /// Which folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody has installed a logger before.
    #[error("logging was already started in this process")]
    AlreadyStarted(#[from] TryInitError),
}

impl Logs {
    /// Opens the files in `LOG_DIR` and sends `tracing` to `app.log` and to stderr.
    ///
    /// # Errors
    /// When the folder can't be used, or logging was started before in this process.
    pub fn start(settings: &Settings) -> Result<Self, LogsError> {
        let dir = &settings.log_dir;
        let refused = |source| LogsError::Folder { dir: dir.clone(), source };
        let open = |file: LogFile| DailyFile::open(dir, file.name()).map_err(refused);
        let counts = LogCounts::default();
        let secrets = Secrets::of(settings);

        let app = (LogFile::App, open(LogFile::App)?);
        let (app, app_thread) =
            writer::start(app, None, counts.clone(), APP_ROOM).map_err(refused)?;
        let app = app.without(&secrets);
        let (requests, errors) = (open(LogFile::Requests)?, open(LogFile::Errors)?);
        let requests = (LogFile::Requests, requests);
        let (tasks, task_thread) =
            writer::start(requests, Some(errors), counts.clone(), TASK_ROOM).map_err(refused)?;
        let tasks = tasks.without(&secrets);

        // A console that stands still must not make a compute thread wait: lines are dropped then.
        let console = Redacted::new(BufWriter::new(io::stderr()), secrets.clone());
        let (console, console_guard) = NonBlockingBuilder::default().lossy(true).finish(console);
        // main says the last words on the console.
        let console = console.with_filter(|line| line.target() != LAST_WORDS);

        let (filter, handle) = reload::Layer::new(EnvFilter::new(directives(&settings.log_level)));
        let filter = filter.and(filter_fn(secrets::may_be_written));
        let json = settings.log_format == LogFormat::Json;
        let file = app.clone();
        let writers = (move || file.clone()).and(console);
        tracing_subscriber::registry()
            .with(app::layer(writers, json).with_filter(filter))
            .try_init()?;
        let control = LogControl { inlets: [app, tasks.clone()], filter: handle, secrets };
        Ok(Self {
            tasks: TaskLog::new(dir, tasks, counts),
            control,
            _tasks: task_thread,
            _app: app_thread,
            _console: console_guard,
        })
    }

    /// Notes in `app.log` why the process ends, and passes it on: `main` prints it on the console.
    pub fn last_words<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, E> {
        result.inspect_err(|error| tracing::error!(target: LAST_WORDS, "{error:#}"))
    }

    /// The writer of `llm_requests.log` and `errors.log`.
    pub fn tasks(&self) -> TaskLog {
        self.tasks.clone()
    }

    /// What changes these logs while they are open.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// A `LOG_LEVEL` as the filter's directives.
fn directives(level: &str) -> String {
    format!("{QUIET},{level}")
}
