//! The three log files, each with daily rotation: `app.log`, `llm_requests.log`, `errors.log`. Their
//! formats are contracts with scripts; `format` writes them and is pure, the rest moves bytes.
//!
//! A file of today is `app.2025-11-21.log`; `app.log` is a link to the latest. Times are UTC. Writing
//! happens on threads of its own, so no caller waits for a disk or a console; lines that come faster
//! than they are written go out together. `secrets` keeps the process's secrets out of all of it.

mod app;
mod daily;
mod format;
mod secrets;
mod task;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use daily::DailyFile;
use secrets::{Redacted, Secrets};

use crate::settings::{LogFormat, Settings};
pub use task::TaskLog;

/// Parts of the system that say more than an operator wants to hear.
const QUIET: &str = "actix_server=warn";
/// The target of [`Logs::last_words`].
const LAST_WORDS: &str = "exit";

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
    /// Opens the files in `LOG_DIR` and sends `tracing` to `app.log` and to stderr.
    ///
    /// # Errors
    /// When the folder can't be used, or logging was started before in this process.
    pub fn start(settings: &Settings) -> Result<Self, LogsError> {
        let dir = &settings.log_dir;
        let secrets = Secrets::of(settings);
        let mut guards = Vec::new();
        // app.log drops lines rather than make a compute thread wait; the contracts never lose one.
        let mut open = |name, lossy| -> Result<NonBlocking, LogsError> {
            let file = std::fs::create_dir_all(dir)
                .and_then(|()| DailyFile::open(dir, name))
                .map_err(|source| LogsError::Folder { dir: dir.clone(), source })?;
            let (writer, guard) = aside(file, lossy, &secrets);
            guards.push(guard);
            Ok(writer)
        };
        let app_file = open("app", true)?;
        let tasks = TaskLog::new(open("llm_requests", false)?, open("errors", false)?);

        let (console, guard) = aside(io::stderr(), true, &secrets);
        guards.push(guard);
        // main says the last words on the console.
        let console = console.with_filter(|line| line.target() != LAST_WORDS);

        let filter = EnvFilter::new(format!("{QUIET},{}", settings.log_level))
            .and(filter_fn(secrets::may_be_written));
        let json = settings.log_format == LogFormat::Json;
        tracing_subscriber::registry()
            .with(app::layer(app_file.and(console), json).with_filter(filter))
            .try_init()?;
        Ok(Self { tasks, _flush_on_drop: guards })
    }

    /// Notes in `app.log` why the process ends, and passes it on: `main` prints it on the console.
    pub fn last_words<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, E> {
        result.inspect_err(|error| tracing::error!(target: LAST_WORDS, "{error:#}"))
    }

    /// The writer of `llm_requests.log` and `errors.log`.
    pub fn tasks(&self) -> TaskLog {
        self.tasks.clone()
    }
}

/// A thread that writes what it is sent, without secrets. Its buffer is written out whenever nothing more waits.
fn aside(
    to: impl Write + Send + 'static,
    lossy: bool,
    secrets: &Secrets,
) -> (NonBlocking, WorkerGuard) {
    let to = Redacted::new(BufWriter::new(to), secrets.clone());
    NonBlockingBuilder::default().lossy(lossy).finish(to)
}
