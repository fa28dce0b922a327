//! The three log files, each with daily rotation: `app.log`, `llm_requests.log`, `errors.log`. Their
//! formats are contracts with scripts; `format` writes them and is pure, the rest moves bytes.
//!
//! A file of today is `app.2025-11-21.log`; `app.log` is a link to the latest. Times are UTC. Writing
//! happens on threads of its own, so no caller waits for a disk.

mod app;
mod format;
mod task;

use std::io;
use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{LogFormat, Settings};
pub use task::{Ended, TaskLog};

/// Days of logs that are kept.
const KEPT_FILES: usize = 90;

/// The open logs. Dropping it writes what is buffered: keep it until the process ends.
#[derive(Debug)]
pub struct Logs {
    tasks: TaskLog,
    _flush_on_drop: Vec<WorkerGuard>,
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
    /// Opens the files in `LOG_DIR` and sends `tracing` to `app.log` and, with `console`, to stderr.
    ///
    /// # Errors
    /// When the folder can't be used, or logging was started before in this process.
    pub fn start(settings: &Settings, console: bool) -> Result<Self, LogsError> {
        let dir = &settings.log_dir;
        let mut guards = Vec::new();
        // app.log drops lines rather than make a compute thread wait; the contracts never lose one.
        let mut open = |name, lossy| -> Result<NonBlocking, LogsError> {
            let file = appender(dir, name)?;
            let (writer, guard) = NonBlockingBuilder::default().lossy(lossy).finish(file);
            guards.push(guard);
            Ok(writer)
        };
        let app_file = open("app", true)?;
        let tasks = TaskLog::new(open("llm_requests", false)?, open("errors", false)?);

        let filter = || EnvFilter::new(&settings.log_level);
        let json = settings.log_format == LogFormat::Json;
        tracing_subscriber::registry()
            .with(app::layer(app_file, json).with_filter(filter()))
            .with(console.then(|| app::layer(io::stderr, json).with_filter(filter())))
            .try_init()?;
        Ok(Self { tasks, _flush_on_drop: guards })
    }

    /// The writer of `llm_requests.log` and `errors.log`.
    pub fn tasks(&self) -> TaskLog {
        self.tasks.clone()
    }
}

fn appender(dir: &Path, name: &str) -> Result<RollingFileAppender, LogsError> {
    let folder = |source| LogsError::Folder { dir: dir.to_path_buf(), source };
    std::fs::create_dir_all(dir).map_err(folder)?;
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .filename_suffix("log")
        .latest_symlink(format!("{name}.log"))
        .max_log_files(KEPT_FILES)
        .build(dir)
        .map_err(|error| folder(io::Error::other(error)))
}
