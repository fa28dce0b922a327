//! [`Held`]: keeps a batch while it runs, and notices when it has to stop.

use std::sync::Arc;
use std::time::Duration;

use protocol::{BatchId, TenantId, Timestamp};
use queue::{Batch, BatchState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{SPAN, Stop};
use crate::state::State;

/// Interval of extending the span, and of looking whether the batch is cancelled.
const TICK: Duration = Duration::from_secs(2);

/// A batch that this gateway runs. Ends with its drop.
pub(super) struct Held {
    state: Arc<State>,
    tenant: TenantId,
    id: BatchId,
    stop: watch::Receiver<Option<Stop>>,
    keeping: JoinHandle<()>,
}

impl Held {
    /// Keeps a batch that was just taken.
    pub(super) fn new(state: Arc<State>, batch: &Batch) -> Self {
        let (tenant, id) = (batch.request.tenant.clone(), batch.request.id);
        let is_over = batch.expires_at <= Timestamp::now();
        let stop = match batch.state {
            BatchState::Cancelling => Some(Stop::Cancelled),
            _ => is_over.then_some(Stop::Expired),
        };
        let (told, stop) = watch::channel(stop);
        let keep = keep(Arc::clone(&state), tenant.clone(), id, batch.expires_at, told);
        Self { state, tenant, id, stop, keeping: tokio::spawn(keep) }
    }

    /// Returns the receiver of the reason to stop.
    pub(super) fn stop(&self) -> watch::Receiver<Option<Stop>> {
        self.stop.clone()
    }

    /// Gives the batch back; another processor may take it after `pause`.
    pub(super) async fn release(self, pause: Duration) {
        self.keeping.abort();
        let hold = self.state.broker.hold_batch(&self.tenant, self.id, pause);
        if let Err(error) = self.state.ask(hold).await {
            tracing::debug!(target: "gateway.batch", batch_id = %self.id, "not given back: {error}");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

async fn keep(
    state: Arc<State>,
    tenant: TenantId,
    id: BatchId,
    expires_at: Timestamp,
    told: watch::Sender<Option<Stop>>,
) {
    let tell = |stop| {
        told.send_if_modified(|known| {
            let is_news = known.is_none();
            *known = known.or(Some(stop));
            is_news
        });
    };
    loop {
        let left = expires_at.as_millis().saturating_sub(Timestamp::now().as_millis());
        let until_over = match *told.borrow() {
            Some(_) => TICK,
            None => TICK.min(Duration::from_millis(left)),
        };
        sleep(until_over).await;
        if expires_at <= Timestamp::now() {
            tell(Stop::Expired);
        }
        let look = async {
            state.broker.hold_batch(&tenant, id, SPAN).await?;
            state.broker.batch(&tenant, id).await
        };
        match state.ask(look).await {
            Ok(Some(batch)) if batch.state == BatchState::Cancelling => tell(Stop::Cancelled),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(target: "gateway.batch", batch_id = %id, "not extended: {error}");
            }
        }
    }
}
