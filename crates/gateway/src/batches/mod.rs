//! Processes batches: checks their files, runs their lines as tasks, and writes the files of answers. Every
//! gateway does so; a batch belongs to one of them at a time, and another one continues it if that dies.
//! Knows no dialect: [`Requests`] is what one provides.
//!
//! | file          | contents |
//! |---------------|----------|
//! | `mod.rs`      | [`Processor`]: takes batches and runs several at once |
//! | `requests.rs` | [`Requests`]: reads and formats lines |
//! | `held.rs`     | keeps a batch, and notices when it has to stop |
//! | `run.rs`      | takes one batch through its states |
//! | `input.rs`    | streams the lines of a file |
//! | `check.rs`    | checks the lines of a file |
//! | `window.rs`   | the lines in progress: prepares and runs them, within bounds |
//! | `line.rs`     | runs one line: its tasks, under ids that every processor derives anew |
//! | `answers.rs`  | writes answers: parts, and at the end the files |
//! | `ended.rs`    | what happens once a batch has ended |
//!
//! ```text
//! input ─▶ window: prepare ─▶ submit, wait (many lines at once) ─▶ part ─▶ advance ─▶ … ─▶ files
//!                                 in the order of the lines ───────────▶
//! ```
//!
//! A processor may die at any step. Another one continues behind the last part: it submits the lines after that
//! under the same task ids, so tasks that exist already are found and not run twice.

mod answers;
mod check;
mod ended;
mod held;
mod ids;
mod input;
mod line;
mod requests;
mod run;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::BatchId;
use queue::{Batch, BlobLimits, BlobStore};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) use self::requests::{LineEnd, LineRequest, Requests};
use crate::batches::held::Held;
use crate::refusal::Refusal;
use crate::state::State;

/// The purpose of the blobs that hold parts of answers, which hides them.
const PART: &str = ".batch_part";
/// The purpose of output and error files.
const OUTPUT: &str = "batch_output";
/// Maximum number of lines of a batch.
const MAX_LINES: u32 = 50_000;
/// Maximum size of a batch's file.
const MAX_INPUT: u64 = 200 << 20;

/// Maximum number of lines of a batch in progress.
const WINDOW: usize = 256;
/// Maximum number of lines of a part.
const PART_LINES: u32 = 512;
/// The number of lines, behind those that are written, that a processor may have submitted: a part that is not
/// written yet, and its window.
const AHEAD: u32 = PART_LINES + WINDOW as u32 + 1;

/// Maximum number of batches that a gateway runs at once.
const MAX_RUNNING: usize = 16;
/// The time for which a gateway takes a batch, which it extends while it runs the batch.
const SPAN: Duration = Duration::from_secs(8);
/// Interval of looking for batches that nobody runs.
const POLL: Duration = Duration::from_secs(1);
/// The time that a batch has at least while others wait, before it makes room for one of them.
const SLICE: Duration = Duration::from_secs(10);
/// Pause before a batch is tried again after a failure of the store.
const RETRY: Duration = Duration::from_secs(3);

/// Why a batch does not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A client cancels it.
    Cancelled,
    /// Its time is over.
    Expired,
}

/// Why a processor drops a batch; it is tried again later.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The queue or the blob store failed.
    #[error("{0}")]
    Store(String),
    /// Another processor has the batch.
    #[error("another processor has the batch")]
    Taken,
    /// Another batch waits for its turn.
    #[error("the batch makes room for another one")]
    MadeRoom,
}

impl From<queue::BrokerError> for Trouble {
    fn from(error: queue::BrokerError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<queue::BlobError> for Trouble {
    fn from(error: queue::BlobError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal.to_string())
    }
}

/// The data that all parts of a batch's run share.
struct Work {
    state: Arc<State>,
    requests: Arc<dyn Requests>,
    /// Stores what the gateway writes, whose size is bounded by the batch: the tenant's bound is one of uploads.
    files: BlobStore,
    /// The batch as it was taken.
    batch: Batch,
    /// Becomes set when the batch has to stop.
    stop: watch::Receiver<Option<Stop>>,
    /// Cancelled when the batch has to make room for another one.
    make_room: CancellationToken,
}

impl Work {
    fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// Waits until the batch has to stop.
    async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        loop {
            if let Some(stop) = *stop.borrow_and_update() {
                return stop;
            }
            if stop.changed().await.is_err() {
                // The batch is not held any more, so this run ends.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A batch that this gateway runs.
#[derive(Clone)]
struct Running {
    since: Instant,
    make_room: CancellationToken,
}

/// Runs batches.
pub(crate) struct Processor {
    state: Arc<State>,
    requests: Arc<dyn Requests>,
    files: BlobStore,
}

impl Processor {
    /// Creates a processor.
    pub(crate) fn new(state: Arc<State>, requests: Arc<dyn Requests>) -> Self {
        const UNBOUNDED: u64 = 1 << 50;
        let limits = state.blobs.limits().clone();
        let limits = BlobLimits { max_bytes: UNBOUNDED, tenant_bytes: UNBOUNDED, ..limits };
        let files = state.blobs.clone().with_limits(limits);
        Self { state, requests, files }
    }

    /// Runs batches until the gateway stops. Batches that are not at their end then are free for other gateways
    /// at once.
    pub(crate) async fn run(self) {
        let mut stopping = self.state.stopping.clone();
        let mut runs: JoinSet<BatchId> = JoinSet::new();
        let mut running = HashMap::new();
        loop {
            if *stopping.borrow() {
                break;
            }
            self.take(&mut runs, &mut running).await;
            tokio::select! {
                Some(ended) = runs.join_next() => match ended {
                    Ok(id) => {
                        running.remove(&id);
                    }
                    Err(error) => {
                        tracing::error!(target: "gateway.batch", "the run of a batch broke off: {error}");
                        // Its id is unknown. The others are found again when their time is over.
                        runs.shutdown().await;
                        running.clear();
                    }
                },
                () = self.state.new_batch.notified() => {}
                () = sleep(POLL) => {}
                _ = stopping.changed() => {}
            }
        }
        while runs.join_next().await.is_some() {}
    }

    /// Takes batches that nobody runs, and starts to run them. If there is no room, the batch that has run for the
    /// longest time makes room for one that waits, so that no batch waits for the end of others.
    async fn take(&self, runs: &mut JoinSet<BatchId>, running: &mut HashMap<BatchId, Running>) {
        let mut room = MAX_RUNNING.saturating_sub(running.len());
        let longest = running.values().min_by_key(|run| run.since).cloned();
        let longest = longest.filter(|run| room == 0 && run.since.elapsed() >= SLICE);
        if longest.is_some() && running.len() == MAX_RUNNING {
            room = 1;
        }
        if room == 0 {
            return;
        }
        let due = match self.state.ask(self.state.broker.due_batches(SPAN, room)).await {
            Ok(due) => due,
            Err(error) => {
                tracing::debug!(target: "gateway.batch", "batches can't be taken: {error}");
                return;
            }
        };
        for batch in due {
            let id = batch.request.id;
            if running.contains_key(&id) {
                continue;
            }
            if let Some(longest) = &longest {
                longest.make_room.cancel();
            }
            let run = Running { since: Instant::now(), make_room: CancellationToken::new() };
            runs.spawn(self.run_one(batch, run.make_room.clone()));
            running.insert(id, run);
        }
    }

    /// Runs a batch until it has ended or the gateway stops.
    fn run_one(
        &self,
        batch: Batch,
        make_room: CancellationToken,
    ) -> impl Future<Output = BatchId> + Send + 'static {
        let (state, requests) = (Arc::clone(&self.state), Arc::clone(&self.requests));
        let files = self.files.clone();
        async move {
            let (id, tenant) = (batch.request.id, batch.request.tenant.clone());
            let mut stopping = state.stopping.clone();
            let held = Held::new(Arc::clone(&state), &batch);
            let stop = held.stop();
            let work = Arc::new(Work { state, requests, files, batch, stop, make_room });
            let pause = tokio::select! {
                ended = run::run(&work) => match ended {
                    Ok(()) => None,
                    Err(Trouble::Taken) => Some(SPAN),
                    Err(Trouble::MadeRoom) => Some(Duration::ZERO),
                    Err(trouble) => {
                        tracing::warn!(
                            target: "gateway.batch", batch_id = %id, tenant = %tenant,
                            "the batch can't go on and is tried again in {RETRY:?}: {trouble}"
                        );
                        Some(RETRY)
                    }
                },
                _ = stopping.wait_for(|stops| *stops) => Some(Duration::ZERO),
            };
            if let Some(pause) = pause {
                held.release(pause).await;
            }
            id
        }
    }
}
