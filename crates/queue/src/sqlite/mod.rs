//! The embedded broker: an SQLite database, for one machine and one process.
//!
//! | file         | contents |
//! |--------------|----------|
//! | `mod.rs`     | [`SqliteBroker`], and opening it |
//! | `broker.rs`  | the [`Broker`](crate::Broker) operations, each one job for the store |
//! | `store.rs`   | the thread that owns the database, and groups commits |
//! | `column.rs`  | the stored forms of ids, times and states |
//! | `course.rs`  | one task's row, and the small changes that operations share |
//! | `task.rs`    | the end of a task, and its requeueing |
//! | `line.rs`    | the positions of queued tasks |
//! | `submit.rs`, `claim.rs`, `lease.rs`, `reap.rs`, `read.rs` | the operations |
//! | `ended.rs`   | pending log lines and tombstones of ended tasks |
//! | `letters.rs`, `listing.rs` | dead letters; the search for tasks |
//! | `operations.rs`, `workers.rs` | the operators' side, and the registry of workers |
//! | `webhooks.rs` | the deliverers' side |
//! | `meters.rs`, `metering.rs` | levels of limits on use; usage |
//! | `blobs.rs`, `batches.rs` | records of blobs; of batches |
//! | `periodic.rs` | states of periodic tasks |
//! | `result_cache.rs` | results for later tasks |
//! | `managed_keys.rs` | managed API keys, and the secrets of their owners |
//! | `reap_hold.rs`, `clock.rs` | holding back reapers; handling clock steps |
//! | `files.rs`   | checks that the file still exists and the disk has space |
//! | `schema.rs`, `schema*.sql`, `lock.rs`, `error.rs` | the file, its lock, its errors |

mod batches;
mod blobs;
mod broker;
mod claim;
mod clock;
mod column;
mod course;
mod ended;
mod error;
mod files;
mod lease;
mod letters;
mod line;
mod listing;
mod lock;
mod managed_keys;
mod metering;
mod meters;
mod operations;
mod periodic;
mod read;
mod reap;
mod reap_hold;
mod result_cache;
mod schema;
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
use self::reap_hold::ReapHold;
use self::store::{Opened, Store, Tx};
use crate::OpenError;
use crate::watch::Hub;
use crate::written::Written;

/// The embedded broker.
pub struct SqliteBroker {
    inner: Arc<Inner>,
}

/// State of the operations, shared with claims that continue after their caller was dropped.
struct Inner {
    store: Store,
    hub: Arc<Hub>,
    /// Notified whenever a task was queued.
    queued: watch::Sender<()>,
    /// The times of recent reaps.
    reap_hold: Arc<Mutex<ReapHold>>,
    /// The clock of leases.
    steady: Steady,
    /// The machine's clock at the last reap.
    steps: Arc<Mutex<Steps>>,
    /// The cached result of `accepts`.
    accepts: Mutex<Option<(Instant, Result<(), String>)>>,
    data_dir: PathBuf,
    /// The number of tasks claimed through this broker, which determines the lane whose turn it is.
    turn: AtomicU64,
    /// Tasks whose log lines are written but not yet acknowledged in the file.
    written: Written,
}

impl SqliteBroker {
    /// Opens the queue in `data_dir` (`queue.db`), or creates it. Stored leases belong to a process that
    /// is gone, so their tasks are requeued at once. Blocks while it reads the file.
    ///
    /// # Errors
    /// Returns an error if another process has the queue open, a newer version wrote it, or it can't be
    /// used.
    pub fn open(data_dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let data_dir = data_dir.as_ref();
        let path = data_dir.join("queue.db");
        let lock = lock::take(data_dir)?;
        let mut connection = schema::open(&path)?;
        let failed = |reason: String| OpenError::Store { path: path.clone(), reason };
        let recovery = connection.transaction().map_err(|error| failed(error.to_string()))?;
        let mut tx = Tx::without_hints(&recovery);
        reap::recover(&mut tx, Timestamp::now())
            .and_then(|()| blobs::recover(&tx))
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
                reap_hold: Arc::new(Mutex::new(ReapHold::from_start(steady.now()))),
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
