//! The tasks that are submitted, and submitting at the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::{Lane, ModelId, Prompt, Sampling, Task, TaskId, TenantId};
use queue::{Broker, BrokerError, SubmitOptions};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::rig::MODEL;

/// Concurrent submits at the broker.
pub(super) const CONCURRENCY: usize = 64;

/// A typical prompt.
pub(super) const PROMPT: &str = "Please read the following notes of our meeting and give me a summary \
    in three short points, each with the name of the person who does it and the day by which it has \
    to be done; leave all else out. Thank you!";

/// The body of a `POST /generate`.
pub(super) fn body() -> String {
    json!({ "prompt": PROMPT, "max_tokens": 200 }).to_string()
}

/// The task that the gateway makes of [`body`].
pub(super) fn task() -> Task {
    Task {
        id: TaskId::new(),
        tenant: TenantId::new("key-0123456789abcdef"),
        model: ModelId::new(MODEL),
        lane: Lane::Normal,
        prompt: Prompt::user(PROMPT),
        pixels: Default::default(),
        kind: Default::default(),
        n: 1,
        max_tokens: 200,
        stop: Vec::new(),
        sampling: Sampling::default(),
        form: Default::default(),
        time_limit_s: 120,
        result_ttl_s: 3600,
        max_attempts: 3,
        retry_backoff_s: None,
        user_id: None,
        metadata: std::collections::BTreeMap::new(),
        webhook: None,
        skill: None,
        reuse: Default::default(),
        trace: None,
    }
}

/// The condition on which submitting stops.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// At this instant.
    Time(Instant),
    /// After this many submits.
    Count(usize),
}

/// The submits that were accepted.
pub(super) struct Accepted {
    /// The tasks' ids.
    pub(super) ids: Vec<TaskId>,
    /// The duration of each submit.
    pub(super) took: Vec<Duration>,
    /// The duration of all.
    pub(super) span: Duration,
}

impl Accepted {
    /// Returns the submits per second.
    pub(super) fn rate(&self) -> f64 {
        self.ids.len() as f64 / self.span.as_secs_f64()
    }
}

/// Submits at the broker, [`CONCURRENCY`] at once.
///
/// # Errors
/// If a submit fails.
pub(super) fn at_broker(
    runtime: &Runtime,
    broker: &Arc<dyn Broker>,
    until: Until,
) -> Result<Accepted> {
    let began = Instant::now();
    let mut lines = JoinSet::new();
    for number in 0..CONCURRENCY {
        let quota = match until {
            Until::Time(_) => usize::MAX,
            Until::Count(count) => count / CONCURRENCY + usize::from(number < count % CONCURRENCY),
        };
        let broker = Arc::clone(broker);
        lines.spawn_on(
            async move {
                let mut accepted = Vec::new();
                let in_time = || match until {
                    Until::Time(end) => Instant::now() < end,
                    Until::Count(_) => true,
                };
                while accepted.len() < quota && in_time() {
                    let task = task();
                    let sent = Instant::now();
                    broker.submit(&task, &SubmitOptions::PLAIN).await?;
                    accepted.push((task.id, sent.elapsed()));
                }
                Ok::<_, BrokerError>(accepted)
            },
            runtime.handle(),
        );
    }
    let mut all = Vec::new();
    runtime.block_on(async {
        while let Some(line) = lines.join_next().await {
            all.extend(line??);
        }
        anyhow::Ok(())
    })?;
    let span = began.elapsed();
    let (ids, took) = all.into_iter().unzip();
    Ok(Accepted { ids, took, span })
}
