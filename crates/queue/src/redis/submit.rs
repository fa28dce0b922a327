//! Submits tasks, several per script call, and parses their standing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{Lane, RecordError, Task, TaskId, TaskState, record};
use serde::Serialize;
use tokio::sync::oneshot;

use super::charge;
use super::group::{self, Member};
use super::hook;
use super::partition::Partition;
use super::periodic;
use super::reply::Reply;
use super::requests::Submit;
use super::scripts::millis;
use crate::estimate::Standing;
use crate::pace::Pace;
use crate::{Bound, BrokerError, Charge, Matches, Start, SubmitOptions, Submitted, stored};

#[async_trait]
impl Member for Submit {
    type Target = Partition;
    /// One, since each connection has its own group.
    const CALLS: usize = 1;

    fn bytes(&self) -> usize {
        self.args.iter().map(String::len).sum::<usize>() + self.charge.0.len()
    }

    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn refuse(self, error: BrokerError) {
        let _ = self.answer.send(Err(error)); // an error means that the caller is gone
    }

    async fn send(
        batch: Vec<Self>,
        partition: &Arc<Partition>,
        limit: Duration,
    ) -> Result<(), BrokerError> {
        let scripts = &partition.scripts;
        let is_charged = batch.iter().any(|submit| !submit.charge.0.is_empty());
        let script = if is_charged { &scripts.submit_charged } else { &scripts.submit };
        let mut call = script.prepare_invoke();
        call.key(partition.keys.base());
        for submit in &batch {
            let (charge, tokens) = &submit.charge;
            call.arg(&submit.args).arg(&**charge).arg(tokens);
        }
        let answers = partition.link.run_within(&call, limit).await;
        group::answer_all(batch.into_iter().map(|submit| submit.answer), answers)
    }
}

/// Fields that few submits have.
#[derive(Serialize)]
struct More<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    repetition: Option<Repetition<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
}

/// The step of a periodic task.
#[derive(Serialize)]
struct Step {
    field: String,
    revision: String,
    record: String,
}

/// The fields by which a repetition is recognized.
#[derive(Serialize)]
struct Repetition<'a> {
    key: String,
    hash: &'a str,
    window: i64,
}

impl Partition {
    pub(super) async fn submit(
        self: &Arc<Self>,
        task: &Task,
        options: &SubmitOptions,
    ) -> Result<Submitted, BrokerError> {
        let (answer, answered) = oneshot::channel();
        let args = self.submit_args(task, options)?;
        let charge = charge_args(task, &options.charge);
        let submit = Submit { args, charge, answer };
        group::join(self.submits(), self, submit);
        let text = answered.await.unwrap_or_else(|cut| Err(group::cut_off(cut)))?;
        let mut reply = Reply::words("submit", &text);
        match reply.text()?.as_str() {
            "accepted" => {
                let submitted = accepted(&mut reply, self)?;
                if !submitted.created {
                    return Ok(submitted);
                }
                let readings = charge::readings(&mut reply, options.charge.meters(), submitted.at)?;
                Ok(Submitted { readings, ..submitted })
            }
            "limited" => {
                let refusal = charge::refusal(&mut reply, &options.charge)?;
                Err(BrokerError::LimitReached(Box::new(refusal)))
            }
            "changed" => Err(changed(options, &reply)),
            "reused" => Err(BrokerError::KeyReused { task_id: reply.parse()? }),
            "full" => Err(full(reply, self, task, options)?),
            "error" => Err(self.link.error_of_one(&text)),
            other => Err(reply.unexpected(other)),
        }
    }

    /// Returns the reply of a repeated submit of a task, or `None` if the task does not exist.
    pub(super) async fn accepted(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError> {
        let mut call = self.scripts.accepted.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        let Some(text) = self.link.run(&call).await?.into_iter().next() else { return Ok(None) };
        let mut reply = Reply::words("accepted", &text);
        match reply.text()?.as_str() {
            "accepted" => accepted(&mut reply, self).map(Some),
            other => Err(reply.unexpected(other)),
        }
    }

    fn submit_args(
        &self,
        task: &Task,
        options: &SubmitOptions,
    ) -> Result<[String; 5], RecordError> {
        let SubmitOptions { bounds, idempotency, start, expires_in, charge, step } = options;
        let repetition = idempotency.as_ref().map(|by| Repetition {
            key: self.keys.idempotency(&task.tenant, &by.key),
            hash: &by.body_hash,
            window: window_ms(by.matches),
        });
        let (at, after) = match start {
            Start::Now => (None, None),
            Start::After(span) => (None, Some(millis(*span))),
            Start::At(instant) => (Some(instant.as_millis()), None),
        };
        let expires = expires_in.map(millis);
        let step = step.as_deref().map(|step| {
            Ok::<_, RecordError>(Step {
                field: periodic::field(&step.id),
                revision: step.revision.to_string(),
                record: record::encode(&step.state)?,
            })
        });
        let more = More {
            at,
            after,
            expires,
            hook: hook::encode(task)?,
            notes: stored::notes(task)?,
            backoff: task.retry_backoff_s.map(|_| millis(task.retry_backoff())),
            repetition,
            step: step.transpose()?,
        };
        let limits = format!(
            "{} {} {}",
            self.share(bounds.model),
            // Of a tenant with limits, all tasks are in this partition.
            if charge.meters().is_empty() { self.share(bounds.tenant) } else { bounds.tenant },
            self.share(bounds.bytes)
        );
        Ok([
            task.id.to_string(),
            record::encode(task)?,
            format!(
                "{}:{}:{}:{}:{}",
                task.result_ttl_s,
                task.max_attempts,
                task.lane.as_str(),
                task.tenant,
                task.model
            ),
            limits,
            more.encoded()?,
        ])
    }
}

/// Returns the charge of a submit as its script takes it.
fn charge_args(task: &Task, charge: &Charge) -> (Vec<u8>, String) {
    let encoded = charge::of_submit(task, charge);
    let tokens = match task.prompt.images() {
        _ if encoded.is_empty() => String::new(),
        0 => charge.tokens.to_string(),
        images => format!("{} {images}", charge.tokens),
    };
    (encoded.into_owned(), tokens)
}

impl More<'_> {
    /// Returns the fields as JSON, or an empty text if there are none.
    fn encoded(&self) -> Result<String, RecordError> {
        let Self { at, after, expires, hook, notes, backoff, repetition, step } = self;
        if at.is_none()
            && after.is_none()
            && expires.is_none()
            && hook.is_none()
            && notes.is_none()
            && backoff.is_none()
            && repetition.is_none()
            && step.is_none()
        {
            return Ok(String::new());
        }
        stored::json(self)
    }
}

/// Returns the maximum age of a matching earlier submit; -1 for any age, 0 for none.
fn window_ms(matches: Matches) -> i64 {
    match matches {
        Matches::Always => -1,
        Matches::Within(span) => i64::try_from(millis(span)).unwrap_or(i64::MAX).max(1),
        Matches::Never => 0,
    }
}

fn accepted(reply: &mut Reply, of: &Partition) -> Result<Submitted, BrokerError> {
    let (task_id, created) = (reply.parse()?, reply.text()? == "1");
    let (state, at, depth) = (reply.parse()?, reply.instant()?, reply.count()?);
    let depth = of.of_all(depth.saturating_sub(1)) + 1;
    let estimate = match state {
        TaskState::Queued => Some(standing(reply, of)?.estimate()),
        _ => None,
    };
    Ok(Submitted { task_id, created, state, at, depth, estimate, readings: Vec::new() })
}

/// Returns the error of a submit whose periodic task has another revision.
fn changed(options: &SubmitOptions, reply: &Reply) -> BrokerError {
    match &options.step {
        Some(step) => BrokerError::PeriodicChanged(step.id.to_string()),
        None => reply.unexpected("changed"),
    }
}

fn full(
    mut reply: Reply,
    of: &Partition,
    task: &Task,
    options: &SubmitOptions,
) -> Result<BrokerError, BrokerError> {
    let SubmitOptions { bounds, charge, .. } = options;
    let (bound, limit) = match reply.text()?.as_str() {
        "model" => (Bound::Model, bounds.model),
        "tenant" => (Bound::Tenant, bounds.tenant),
        "bytes" => (Bound::Bytes, bounds.bytes),
        other => return Err(reply.unexpected(other)),
    };
    let held = reply.count()?;
    let is_whole = bound == Bound::Tenant && !charge.meters().is_empty();
    let held = if is_whole { held } else { of.of_all(held) };
    let (queued, processing) = (reply.count()?, reply.count()?);
    let retry_after_s = Pace { queued, processing, service_ms: reply.parse()? }.retry_after_s();
    Ok(BrokerError::QueueFull { bound, model: task.model.clone(), held, limit, retry_after_s })
}

/// Parses the result of `lib/standing.lua` and extrapolates it to all partitions: they are likely to
/// be as full, and the workers serve them all.
pub(super) fn standing(reply: &mut Reply, of: &Partition) -> Result<Standing, BrokerError> {
    let lane = reply.text()?;
    let lane = Lane::ALL.into_iter().find(|known| known.as_str() == lane);
    Ok(Standing {
        lane: lane.ok_or_else(|| BrokerError::Corrupt("a task has an unknown lane".into()))?,
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
