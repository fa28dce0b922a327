//! The delivery loop: takes due deliveries from the queue, sends each, and records the result.
//! Every gateway runs one. If its process dies, the deliveries it had taken fall due again when
//! their leases expire, with the same `webhook-id`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{TenantId, Timestamp};
use queue::{Delivery, Tried, TryResult, Verdict, Webhooks, retry};
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::fair_queue::FairQueue;
use crate::payload::{self, Render};
use crate::schedule::{self, Schedule};
use crate::send::{Answer, Message, SendError, Sender};
use crate::sign::Secrets;

/// The interval at which the queue is queried for due deliveries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of deliveries leased by one request to the queue.
const BATCH: usize = 32;

/// Delivers webhooks.
#[derive(Clone)]
pub struct Deliverer {
    /// The queue that holds the deliveries.
    pub queue: Arc<dyn Webhooks>,
    /// The tenants' signing secrets.
    pub secrets: Arc<Secrets>,
    /// Formats the body of an ended task's webhook.
    pub render: Arc<Render>,
    /// Sends the POSTs.
    pub sender: Sender,
    /// Decides whether and when to retry.
    pub schedule: Schedule,
    /// Called after each try, to count it.
    pub tried: fn(Verdict),
}

impl Deliverer {
    /// Delivers until `stop` is cancelled. Then takes nothing more, waits at most `drain` for the
    /// tries in progress, and returns. Deliveries not finished by then fall due again.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        let mut tries = JoinSet::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.deliver(&mut tries) => {}
        }
        let end = async { while tries.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, end).await.is_err() {
            tracing::info!(target: "webhooks.deliver", "stopping with webhook deliveries in progress; they will be retried");
        }
    }

    /// The lease of a taken delivery: the time to wait for its turn, to be sent, and to be
    /// recorded.
    fn lease(&self) -> Duration {
        self.sender.limit() * 3
    }

    /// Runs forever. Cancel-safe: deliveries it had taken fall due again.
    async fn deliver(&self, tries: &mut JoinSet<()>) {
        let mut deliveries = FairQueue::new(self.sender.limit());
        let mut tenants: HashMap<Id, TenantId> = HashMap::new();
        let mut polls = tokio::time::interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = true;
        loop {
            if poll && !deliveries.is_full() {
                // A full batch means that more may be due.
                poll = self.take(&mut deliveries).await == BATCH;
            }
            while let Some(delivery) = deliveries.next(Instant::now()) {
                let tenant = delivery.tenant.clone();
                let handle = tries.spawn(self.clone().try_once(delivery));
                tenants.insert(handle.id(), tenant);
            }
            if poll && !deliveries.is_full() {
                continue;
            }
            tokio::select! {
                _ = polls.tick() => poll = true,
                Some(ended) = tries.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    if let Some(tenant) = tenants.remove(&id) {
                        deliveries.ended(&tenant);
                    }
                }
            }
        }
    }

    /// Takes due deliveries from the queue and returns how many there were.
    async fn take(&self, deliveries: &mut FairQueue) -> usize {
        let taken = Instant::now();
        match self.queue.due_webhooks(self.lease(), BATCH).await {
            Ok(due) => {
                let count = due.len();
                for delivery in due {
                    let webhook_id = delivery.id;
                    if !deliveries.push(delivery, taken) {
                        tracing::debug!(target: "webhooks.deliver", %webhook_id, "too many deliveries in progress; this one is leased again later");
                    }
                }
                count
            }
            Err(error) => {
                // Logged at debug only: the gateway's other users of the queue report that it is
                // away.
                tracing::debug!(target: "webhooks.deliver", "cannot take due webhooks: {error}");
                0
            }
        }
    }

    async fn try_once(self, delivery: Delivery) {
        let until = Instant::now() + self.sender.limit() * 2;
        let (tried, verdict) = self.send_once(&delivery, until).await;
        log(&delivery, &tried, verdict);
        (self.tried)(verdict);
        let record = || self.queue.webhook_tried(delivery.id, &tried, verdict);
        if let Err(error) = retry::while_unavailable(until, record).await {
            // The delivery falls due again, so the receiver may get it twice.
            let webhook_id = delivery.id;
            tracing::warn!(target: "webhooks.deliver", %webhook_id, "cannot record the result of a webhook's try: {error}");
        }
    }

    /// Sends a delivery once. Returns the result to record and whether to retry.
    async fn send_once(&self, delivery: &Delivery, until: Instant) -> (Tried, Verdict) {
        let began = Instant::now();
        let came = self.send(delivery).await;
        let tried = tried(delivery, began, schedule::result(&came));
        let made = self.count_earlier_tries(delivery, until).await + 1;
        let age = Timestamp::now().seconds_since(delivery.since);
        let age = Duration::from_secs_f64(age);
        (tried, self.schedule.verdict(made, age, &came, fraction()))
    }

    async fn send(&self, delivery: &Delivery) -> Result<Answer, SendError> {
        let secret = self.secrets.of(&delivery.tenant).await.map_err(|_| SendError::NoSecret)?;
        let secret = secret.ok_or(SendError::UnknownKey)?;
        let id = delivery.id.to_string();
        let body = payload::body(delivery, &*self.render);
        let timestamp_s = Timestamp::now().as_millis() / 1_000;
        let signature = secret.sign(&id, timestamp_s, &body);
        let message = Message { id, timestamp_s, signature, body };
        self.sender.send(&delivery.url, message).await
    }

    /// Counts the tries sent before this one. `delivery.number` also counts deliveries that were
    /// taken but never sent, because their lease expired in the queue or their process died.
    async fn count_earlier_tries(&self, delivery: &Delivery, until: Instant) -> usize {
        let numbered = usize::try_from(delivery.number.saturating_sub(1)).unwrap_or(usize::MAX);
        if numbered == 0 {
            return 0;
        }
        let report = retry::while_unavailable(until, || self.queue.webhook(delivery.id)).await;
        report.ok().flatten().map_or(numbered, |report| report.tries.len())
    }
}

fn tried(delivery: &Delivery, began: Instant, result: TryResult) -> Tried {
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Tried { number: delivery.number, at: Timestamp::now(), took_ms, result }
}

/// Logs one line per try. Of the URL only the host is logged: the rest may be secret.
fn log(delivery: &Delivery, tried: &Tried, verdict: Verdict) {
    let url = url::Url::parse(&delivery.url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("an unreadable URL");
    let (number, took_ms) = (tried.number, tried.took_ms);
    let task_id = delivery.task().map(|end| tracing::field::display(end.task_id));
    let webhook_id = task_id.is_none().then(|| tracing::field::display(delivery.id));
    let came = match &tried.result {
        TryResult::Status(status) => format!("the receiver returned {status}"),
        TryResult::Error(error) => error.clone(),
    };
    let next = match verdict {
        Verdict::Delivered => {
            tracing::info!(target: "webhooks.deliver", task_id, webhook_id, host, number, took_ms, "webhook delivered: {came}");
            return;
        }
        Verdict::Again(pause) => format!("trying again in {:.0} s", pause.as_secs_f64()),
        Verdict::GivenUp => "given up".to_owned(),
    };
    tracing::warn!(target: "webhooks.deliver", task_id, webhook_id, host, number, took_ms, "webhook failed: {came}; {next}");
}

/// Returns a random number in `0.0..=1.0`.
fn fraction() -> f64 {
    let (_, bits) = uuid::Uuid::new_v4().as_u64_pair();
    (bits & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}
