//! The loop: takes deliveries that are due, tries each, says what came of it. Every gateway runs one,
//! and any of them may die at any moment: what it had under way falls due again, with the same
//! `webhook-id`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{TenantId, Timestamp};
use queue::{Delivery, Tried, TryResult, Verdict, Webhooks, insist};
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::line::Line;
use crate::payload::{self, Render};
use crate::schedule::{self, Schedule};
use crate::send::{Answer, Message, SendError, Sender};
use crate::sign::Secrets;

/// How often to look for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// How many deliveries to take at once.
const TAKE: usize = 32;

/// Delivers webhooks.
#[derive(Clone)]
pub struct Deliverer {
    /// Where deliveries wait.
    pub queue: Arc<dyn Webhooks>,
    /// Who signs.
    pub secrets: Arc<Secrets>,
    /// Puts an end in the API's words.
    pub render: Arc<Render>,
    /// Sends.
    pub sender: Sender,
    /// When to try again.
    pub schedule: Schedule,
}

impl Deliverer {
    /// Delivers until `stop`; then takes nothing more, ends what is under way, for `drain` at most,
    /// and returns. What is not ended by then falls due again.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        let mut tries = JoinSet::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.deliver(&mut tries) => {}
        }
        let end = async { while tries.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, end).await.is_err() {
            tracing::info!(target: "webhooks.deliver", "stopping with webhooks under way; they are tried again");
        }
    }

    /// How long a delivery is ours: time to wait for its turn, to try, and to record.
    fn lease(&self) -> Duration {
        self.sender.limit() * 3
    }

    /// For ever. May be dropped at any point: what it had taken falls due again.
    async fn deliver(&self, tries: &mut JoinSet<()>) {
        let mut line = Line::new(self.sender.limit());
        let mut whose: HashMap<Id, TenantId> = HashMap::new();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = true;
        loop {
            if look && !line.is_full() {
                // More wait if as many came as were asked for.
                look = self.take(&mut line).await == TAKE;
            }
            while let Some(delivery) = line.next(Instant::now()) {
                let tenant = delivery.tenant.clone();
                let handle = tries.spawn(self.clone().try_once(delivery));
                whose.insert(handle.id(), tenant);
            }
            if look && !line.is_full() {
                continue;
            }
            tokio::select! {
                _ = looks.tick() => look = true,
                Some(ended) = tries.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    if let Some(tenant) = whose.remove(&id) {
                        line.ended(&tenant);
                    }
                }
            }
        }
    }

    /// Takes what is due; answers how many there were.
    async fn take(&self, line: &mut Line) -> usize {
        let taken = Instant::now();
        match self.queue.due_webhooks(self.lease(), TAKE).await {
            Ok(due) => {
                let count = due.len();
                for delivery in due {
                    let task_id = delivery.task_id;
                    if !line.join(delivery, taken) {
                        tracing::debug!(target: "webhooks.deliver", %task_id, "no room: later");
                    }
                }
                count
            }
            Err(error) => {
                // The queue's absence is told by those who need it more urgently.
                tracing::debug!(target: "webhooks.deliver", "nothing taken: {error}");
                0
            }
        }
    }

    async fn try_once(self, delivery: Delivery) {
        let until = Instant::now() + self.sender.limit() * 2;
        let (tried, verdict) = self.tell(&delivery, until).await;
        log(&delivery, &tried, verdict);
        let record = || self.queue.webhook_tried(delivery.task_id, &tried, verdict);
        if let Err(error) = insist(until, record).await {
            // It falls due again: a receiver may hear it twice.
            let task_id = delivery.task_id;
            tracing::warn!(target: "webhooks.deliver", %task_id, "a webhook's try was not recorded: {error}");
        }
    }

    /// One try, and what follows from it.
    async fn tell(&self, delivery: &Delivery, until: Instant) -> (Tried, Verdict) {
        let began = Instant::now();
        let came = self.send(delivery).await;
        let tried = tried(delivery, began, schedule::result(&came));
        let made = self.made_before(delivery, until).await + 1;
        let age = Timestamp::now().seconds_since(delivery.finished_at);
        let age = Duration::from_secs_f64(age);
        (tried, self.schedule.verdict(made, age, &came, fraction()))
    }

    async fn send(&self, delivery: &Delivery) -> Result<Answer, SendError> {
        let secret = self.secrets.of(&delivery.tenant).ok_or(SendError::UnknownKey)?;
        let id = delivery.task_id.to_string();
        let body = payload::body(delivery, &*self.render);
        let timestamp_s = Timestamp::now().as_millis() / 1_000;
        let signature = secret.sign(&id, timestamp_s, &body);
        let message = Message { id, timestamp_s, signature, body };
        self.sender.send(&delivery.url, message).await
    }

    /// How many tries were really made before this one. Its number counts also those that were taken
    /// and never made, since their turn did not come or their process died.
    async fn made_before(&self, delivery: &Delivery, until: Instant) -> usize {
        let numbered = usize::try_from(delivery.number.saturating_sub(1)).unwrap_or(usize::MAX);
        if numbered == 0 {
            return 0;
        }
        let report = insist(until, || self.queue.webhook(delivery.task_id)).await;
        report.ok().flatten().map_or(numbered, |report| report.tries.len())
    }
}

fn tried(delivery: &Delivery, began: Instant, result: TryResult) -> Tried {
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Tried { number: delivery.number, at: Timestamp::now(), took_ms, result }
}

/// One line for each try. Of the URL only the host: the rest may be secret.
fn log(delivery: &Delivery, tried: &Tried, verdict: Verdict) {
    let url = url::Url::parse(&delivery.url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("an unreadable URL");
    let (task_id, number, took_ms) = (delivery.task_id, tried.number, tried.took_ms);
    let came = match &tried.result {
        TryResult::Status(status) => format!("the receiver answered {status}"),
        TryResult::Error(error) => error.clone(),
    };
    let next = match verdict {
        Verdict::Delivered => {
            tracing::info!(target: "webhooks.deliver", %task_id, host, number, took_ms, "webhook delivered: {came}");
            return;
        }
        Verdict::Again(pause) => format!("again in {:.0} s", pause.as_secs_f64()),
        Verdict::GivenUp => "given up".to_owned(),
    };
    tracing::warn!(target: "webhooks.deliver", %task_id, host, number, took_ms, "webhook failed: {came}; {next}");
}

/// Random, 0 to 1.
fn fraction() -> f64 {
    let (_, bits) = uuid::Uuid::new_v4().as_u64_pair();
    (bits & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}
