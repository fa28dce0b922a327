//! Submitting: one script; and reading what it says of where the task stands.

use protocol::{Lane, Task, TaskState, record};

use super::claim::millis;
use super::partition::Partition;
use super::reply::Reply;
use super::webhooks::hook;
use crate::estimate::Standing;
use crate::pace::Pace;
use crate::{Bound, BrokerError, Matches, Start, SubmitOptions, Submitted};

impl Partition {
    pub(super) async fn submit(
        &self,
        task: &Task,
        options: &SubmitOptions,
    ) -> Result<Submitted, BrokerError> {
        let SubmitOptions { bounds, idempotency, start, expires_in } = options;
        let (keys, task_key) = (&self.keys, self.keys.task(task.id));
        let key = idempotency.as_ref().map(|by| keys.idempotency(&task.tenant, &by.key));
        let mut call = self.scripts.submit.prepare_invoke();
        call.key(keys.base()).key(&task_key).key(keys.totals()).key(key.unwrap_or(task_key));
        call.arg(task.id.to_string()).arg(record::encode(task)?).arg(task.model.as_str());
        call.arg(task.lane.as_str()).arg(task.tenant.as_str());
        call.arg(task.result_ttl_s).arg(task.max_attempts);
        for bound in [bounds.model, bounds.tenant, bounds.bytes] {
            call.arg(self.share(bound));
        }
        let (at, after) = match start {
            Start::Now => (0, 0),
            Start::After(span) => (0, millis(*span)),
            Start::At(instant) => (instant.as_millis(), 0),
        };
        call.arg(at).arg(after);
        match expires_in {
            Some(span) => call.arg(millis(*span)),
            None => call.arg(-1),
        };
        match idempotency {
            Some(by) => call.arg(&by.body_hash).arg(window_ms(by.matches)),
            None => call.arg("").arg(0),
        };
        call.arg(hook(task)?);
        let mut reply = Reply::new("submit", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "accepted" => accepted(reply, self),
            "reused" => Err(BrokerError::KeyReused { task_id: reply.parse()? }),
            "full" => Err(full(reply, self, task, options)?),
            other => Err(reply.unexpected(other)),
        }
    }
}

/// How old an earlier submit may be; -1 for any age, 0 for none.
fn window_ms(matches: Matches) -> i64 {
    match matches {
        Matches::Always => -1,
        Matches::Within(span) => i64::try_from(millis(span)).unwrap_or(i64::MAX).max(1),
        Matches::Never => 0,
    }
}

fn accepted(mut reply: Reply, of: &Partition) -> Result<Submitted, BrokerError> {
    let (task_id, created) = (reply.parse()?, reply.text()? == "1");
    let (state, at, depth) = (reply.parse()?, reply.instant()?, reply.count()?);
    let depth = of.of_all(depth.saturating_sub(1)) + 1;
    let estimate = match state {
        TaskState::Queued => Some(standing(&mut reply, of)?.estimate()),
        _ => None,
    };
    Ok(Submitted { task_id, created, state, at, depth, estimate })
}

fn full(
    mut reply: Reply,
    of: &Partition,
    task: &Task,
    options: &SubmitOptions,
) -> Result<BrokerError, BrokerError> {
    let bounds = options.bounds;
    let (bound, limit) = match reply.text()?.as_str() {
        "model" => (Bound::Model, bounds.model),
        "tenant" => (Bound::Tenant, bounds.tenant),
        "bytes" => (Bound::Bytes, bounds.bytes),
        other => return Err(reply.unexpected(other)),
    };
    let held = of.of_all(reply.count()?);
    let (queued, processing) = (reply.count()?, reply.count()?);
    let retry_after_s = Pace { queued, processing, service_ms: reply.parse()? }.retry_after_s();
    Ok(BrokerError::QueueFull { bound, model: task.model.clone(), held, limit, retry_after_s })
}

/// Reads what `lib/standing.lua` answers, and counts the other partitions in: they are likely to
/// be as full, and the workers serve them all.
pub(super) fn standing(reply: &mut Reply, of: &Partition) -> Result<Standing, BrokerError> {
    let lane = reply.text()?;
    let lane = Lane::ALL.into_iter().find(|known| known.as_str() == lane);
    Ok(Standing {
        lane: lane.ok_or_else(|| BrokerError::Corrupt("a task in an unknown lane".into()))?,
        in_stream: reply.text()? == "1",
        stream_ahead: of.of_all(reply.count()?),
        backlog_ahead: of.of_all(reply.count()?),
        delay_ms: reply.count()?,
        tenants: reply.count()?,
        queued: [reply.count()?, reply.count()?, reply.count()?, reply.count()?]
            .map(|queued| of.of_all(queued)),
        processing: of.of_all(reply.count()?),
        capacity: reply.count()?,
        service_ms: reply.parse()?,
        service_dev: reply.parse()?,
    })
}
