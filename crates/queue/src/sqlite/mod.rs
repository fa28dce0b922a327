//! The embedded broker: SQLite in a file of its own, for one machine and one process.
//!
//! | file         | what it holds |
//! |--------------|---------------|
//! | `mod.rs`     | [`SqliteBroker`], how it is opened |
//! | `broker.rs`  | the [`Broker`](crate::Broker) operations, each one job for the store |
//! | `store.rs`   | the thread that owns the database, and groups commits |
//! | `task.rs`    | the steps that operations are made of |
//! | `line.rs`    | where queued tasks stand in line |
//! | `submit.rs`, `claim.rs`, `lease.rs`, `reap.rs`, `read.rs` | the operations |
//! | `ended.rs`   | what is to be done for tasks that ended, and what is remembered of them |
//! | `letters.rs` | dead letters |
//! | `operations.rs`, `workers.rs` | the operators' side, and the registry of workers |
//! | `webhooks.rs` | the deliverers' side |
//! | `silence.rs`, `clock.rs` | whether reapers hold back; a clock that steps |
//! | `files.rs`   | whether the file is still there, and the disk has room |
//! | `schema.rs`, `schema*.sql`, `lock.rs`, `error.rs` | the file, its lock, its complaints |

mod broker;
mod claim;
mod clock;
mod ended;
mod error;
mod files;
mod lease;
mod letters;
mod line;
mod lock;
mod operations;
mod read;
mod reap;
mod schema;
mod silence;
mod store;
mod submit;
mod task;
mod webhooks;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use protocol::Timestamp;
use tokio::sync::watch;

use self::clock::{Steady, Steps};
use self::files::Files;
use self::silence::Silence;
use self::store::{Opened, Store, Tx};
use crate::OpenError;
use crate::watch::Hub;
use crate::written::Written;

/// The embedded broker.
pub struct SqliteBroker {
    inner: Arc<Inner>,
}

/// What the operations work with; shared with claims that go on after their caller went away.
struct Inner {
    store: Store,
    hub: Arc<Hub>,
    /// Sent to whenever a task was queued.
    queued: watch::Sender<()>,
    /// When the reapers came.
    silence: Arc<Mutex<Silence>>,
    /// What leases are timed by.
    steady: Steady,
    /// Where the machine's clock was when the reapers came last.
    steps: Arc<Mutex<Steps>>,
    /// Whether a task would be taken, as it was found last.
    accepts: Mutex<Option<(Instant, Result<(), String>)>>,
    data_dir: PathBuf,
    /// Tasks claimed through this broker: whose lane's turn it is.
    turn: AtomicU64,
    /// Tasks whose log lines are written, as the file has yet to say.
    written: Written,
}

impl SqliteBroker {
    /// Opens the queue in `data_dir` (`queue.db`), or creates it. The leases in it are those of a
    /// process that is gone, so their tasks are queued again at once. Blocks for as long as reading
    /// the file takes.
    ///
    /// # Errors
    /// When another process has it open, a newer version wrote it, or it can't be used.
    pub fn open(data_dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let data_dir = data_dir.as_ref();
        let path = data_dir.join("queue.db");
        let lock = lock::take(data_dir)?;
        let mut connection = schema::open(&path)?;
        let failed = |reason: String| OpenError::Store { path: path.clone(), reason };
        let recovery = connection.transaction().map_err(|error| failed(error.to_string()))?;
        reap::recover(&mut Tx::without_hints(&recovery), Timestamp::now())
            .map_err(|error| failed(error.to_string()))?;
        recovery.commit().map_err(|error| failed(error.to_string()))?;

        let (hub, queued) = (Hub::new(), watch::Sender::new(()));
        let opened = Opened { connection, files: Files::opened_in(data_dir), _lock: lock };
        let steady = Steady::start();
        Ok(Self {
            inner: Arc::new(Inner {
                store: Store::start(opened, Arc::clone(&hub), queued.clone(), data_dir)?,
                hub,
                queued,
                silence: Arc::new(Mutex::new(Silence::from_start(steady.now()))),
                steady,
                steps: Arc::default(),
                accepts: Mutex::default(),
                data_dir: data_dir.to_owned(),
                turn: AtomicU64::new(0),
                written: Written::default(),
            }),
        })
    }
}
