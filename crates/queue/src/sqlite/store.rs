//! The single owner of the database: a thread with the only connection, which receives jobs.
//!
//! A dedicated thread rather than a mutex and `spawn_blocking`, since it can group commits: all jobs
//! that wait when a transaction begins run in it, each under a savepoint, and share one sync. Callers
//! get their results, and watchers their hints, only after the commit.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use protocol::TaskId;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::error::broker_error;
use super::files::Files;
use crate::contract::causes;
use crate::watch::Hub;
use crate::{BrokerError, OpenError};

/// The maximum number of jobs per transaction, so that the first of many does not wait for all.
const LARGEST_GROUP: usize = 256;

/// The context of a job: the connection, inside a transaction, and hints to send after its commit.
pub(super) struct Tx<'a> {
    pub(super) sql: &'a Connection,
    hints: Vec<Hint>,
}

enum Hint {
    Changed(TaskId),
    CancelRequested(TaskId),
    Queued,
}

impl<'a> Tx<'a> {
    /// Creates a context without hints, for work before the broker has watchers.
    pub(super) fn without_hints(sql: &'a Connection) -> Self {
        Self { sql, hints: Vec::new() }
    }

    /// Records that a task changed.
    pub(super) fn changed(&mut self, id: TaskId) {
        self.hints.push(Hint::Changed(id));
    }

    /// Records that cancellation of a running task was requested.
    pub(super) fn cancel_requested(&mut self, id: TaskId) {
        self.hints.push(Hint::CancelRequested(id));
    }

    /// Records that a task may be claimable.
    pub(super) fn queued(&mut self) {
        self.hints.push(Hint::Queued);
    }
}

/// Runs inside a transaction, or gets the reason why there is none; returns whether its writes must be
/// kept, and the callback for its result.
type Job = Box<dyn FnOnce(Result<&mut Tx<'_>, &str>) -> (bool, Reply) + Send>;
/// Called after the commit, or with the reason why it failed.
type Reply = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// The resources that the thread owns.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) files: Files,
    /// Excludes other processes while the file is open.
    pub(super) _lock: File,
}

/// The handle of the thread. Dropping it ends the thread after its queued jobs.
pub(super) struct Store {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Starts the thread.
    pub(super) fn start(
        opened: Opened,
        hub: Arc<Hub>,
        queued: watch::Sender<()>,
        path: &Path,
    ) -> Result<Self, OpenError> {
        let (jobs, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("queue-store".into())
            .spawn(move || serve(opened, &inbox, &hub, &queued))
            .map_err(|source| OpenError::DataDir { path: path.into(), source })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a job and waits for its commit. The job also runs if the future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let done = match tx {
                Ok(tx) => work(tx),
                Err(reason) => Err(BrokerError::Unavailable { reason: reason.to_owned() }),
            };
            let keep = done.is_ok();
            let reply: Reply = Box::new(move |committed| {
                let result = match committed {
                    Ok(()) => done,
                    Err(reason) => Err(BrokerError::Unavailable { reason: reason.to_owned() }),
                };
                // An error means that the caller is gone.
                let _ = sender.send(result);
            });
            (keep, reply)
        });
        let ended = || BrokerError::Unavailable { reason: "the queue's thread has ended".into() };
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job).map_err(|_| ended())?;
        receiver.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        // The next process that opens the folder must not find it locked.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn serve(mut opened: Opened, inbox: &Receiver<Job>, hub: &Hub, queued: &watch::Sender<()>) {
    let mut waiting = VecDeque::new();
    let mut are_present = true;
    while let Ok(job) = inbox.recv() {
        waiting.push_back(job);
        waiting.extend(inbox.try_iter().take(LARGEST_GROUP - 1));
        while !waiting.is_empty() {
            let mut group = Group { refuse_writes: opened.files.check().err(), ..Group::default() };
            let committed = group.commit(&mut opened.connection, &mut waiting);
            // If the file was deleted meanwhile, its data was lost with it.
            let vanished = group.refuse_writes.or_else(|| opened.files.check().err());
            log_presence(&mut are_present, vanished.as_deref());
            match &committed {
                Ok(()) => send_hints(group.hints, hub, queued),
                Err(reason) => tracing::error!(%reason, "cannot commit to the embedded queue"),
            }
            for (reply, wrote) in group.replies {
                let lost = vanished.as_deref().filter(|_| wrote);
                let committed = committed.as_ref().copied().map_err(String::as_str);
                reply(lost.map_or(committed, Err));
            }
        }
    }
}

/// Logs when the files disappear, and when they are back.
fn log_presence(was: &mut bool, vanished: Option<&str>) {
    match vanished {
        Some(reason) if *was => tracing::error!("{reason}; until then no task is accepted"),
        None if !*was => tracing::info!("the files of the embedded queue are back"),
        _ => {}
    }
    *was = vanished.is_none();
}

/// The results of the jobs of one transaction.
#[derive(Default)]
struct Group {
    /// The callbacks to call after the commit, each with whether its job wrote.
    replies: Vec<(Reply, bool)>,
    hints: Vec<Hint>,
    /// The reason why writes are refused; reads continue.
    refuse_writes: Option<String>,
}

impl Group {
    /// Runs jobs in one transaction; removes those it ran from `waiting`, at least one.
    fn commit(
        &mut self,
        connection: &mut Connection,
        waiting: &mut VecDeque<Job>,
    ) -> Result<(), String> {
        let failed = |error: rusqlite::Error| broker_error(&error).to_string();
        let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate)
        {
            Ok(transaction) => transaction,
            Err(error) => {
                let reason = failed(error);
                self.replies.extend(waiting.drain(..).map(|job| (job(Err(&reason)).1, false)));
                return Err(reason);
            }
        };
        while let Some(job) = waiting.pop_front() {
            let mut tx = Tx { sql: &transaction, hints: Vec::new() };
            let savepoint = transaction.execute_batch("SAVEPOINT job").map_err(failed);
            let changes = transaction.total_changes();
            let (keep, reply) =
                job(savepoint.as_ref().map(|()| &mut tx).map_err(|reason| reason.as_str()));
            let wrote = transaction.total_changes() != changes;
            self.replies.push((reply, wrote));
            savepoint?;
            if keep && !(wrote && self.refuse_writes.is_some()) {
                self.hints.append(&mut tx.hints);
            } else if transaction.is_autocommit() {
                return Err(format!(
                    "the embedded queue: {} (SQLite rolled the transaction back)",
                    causes::UNWRITABLE
                ));
            } else {
                transaction.execute_batch("ROLLBACK TO job").map_err(failed)?;
            }
            transaction.execute_batch("RELEASE job").map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}

fn send_hints(hints: Vec<Hint>, hub: &Hub, queued: &watch::Sender<()>) {
    for hint in hints {
        match hint {
            Hint::Changed(id) => hub.wake(id),
            Hint::CancelRequested(id) => hub.cancel(id),
            Hint::Queued => {
                queued.send_replace(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(tx: &Tx<'_>, number: i64) -> Result<(), BrokerError> {
        tx.sql.execute("INSERT INTO numbers VALUES (?1)", [number])?;
        Ok(())
    }

    #[tokio::test]
    async fn failed_job_is_rolled_back_without_affecting_its_batch() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = crate::sqlite::lock::take(folder.path()).unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER PRIMARY KEY)").unwrap();
        let queued = watch::Sender::new(());
        let opened = Opened { connection, files: Files::opened_in(folder.path()), _lock };
        let store = Store::start(opened, Hub::new(), queued, folder.path()).unwrap();

        // Delayed by the first, the others share a transaction.
        let (go, wait) = channel();
        let first = store.run(move |tx| {
            wait.recv().unwrap();
            write(tx, 1)
        });
        let good = store.run(|tx| write(tx, 2));
        let refused = store.run(|tx| {
            write(tx, 3)?;
            Err::<(), _>(BrokerError::Corrupt("no".into()))
        });
        let clash = store.run(|tx| {
            write(tx, 4)?;
            write(tx, 2)
        });
        let last = store.run(|tx| write(tx, 5));
        let release = async { go.send(()).unwrap() };
        let (first, good, refused, clash, last, ()) =
            tokio::join!(first, good, refused, clash, last, release);
        assert!(first.is_ok() && good.is_ok() && refused.is_err() && clash.is_err());
        assert!(last.is_ok());
        let sum = store
            .run(|tx| {
                Ok(tx
                    .sql
                    .query_row("SELECT sum(number) FROM numbers", [], |row| row.get::<_, i64>(0))?)
            })
            .await;
        assert_eq!(sum.unwrap(), 1 + 2 + 5);
    }
}
