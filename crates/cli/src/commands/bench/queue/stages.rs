//! The stages, each on a new rig. A stage fails unless every accepted task is taken and finished
//! exactly once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use protocol::TaskId;

use super::super::load::{self, Connection, Reply};
use super::super::spread::Spread;
use super::noop::{self, Pickup, Workers};
use super::report::{CpuCost, Flow, Pickups, RedisCost};
use super::rig::Rig;
use super::submits::{self, Until};

/// Rounds of what is measured one at a time.
const ROUNDS: usize = 200;
/// The number of queued tasks whose memory is measured.
const MEMORY_SAMPLE_TASKS: usize = 10_000;

/// Duration and load of the stages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The duration of each stage.
    pub(super) span: Duration,
    /// Connections of the load generator.
    pub(super) connections: usize,
    /// The number of no-op workers.
    pub(super) workers: usize,
}

/// Measures submits over HTTP alone, then status requests for queued tasks, then workers alone.
pub(super) fn apart(rig: &Rig, plan: &Plan) -> Result<(Flow, Flow, Flow)> {
    let replies = submit_over_http(rig, plan, None)?;
    let ids = ids(&replies)?;
    let polls = poll(rig, plan, &ids, Some(plan.span))?;

    let began = Instant::now();
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    let finished = workers.wait_for(ids.len() as u64);
    let span = began.elapsed();
    check(&ids, &workers.stop(&rig.runtime)?, finished)?;
    let drain = Flow { per_second: finished as f64 / span.as_secs_f64(), latency: None };
    Ok((Flow::of(&replies), polls, drain))
}

/// Measures submits at the broker, and the bytes of 10,000 queued tasks.
pub(super) fn broker_submits(rig: &mut Rig, plan: &Plan) -> Result<(Flow, u64)> {
    let before = rig.size()?;
    submits::at_broker(&rig.runtime, &rig.broker, Until::Count(MEMORY_SAMPLE_TASKS))?;
    std::thread::sleep(Duration::from_millis(200));
    let weight = rig.size()?.saturating_sub(before);
    let until = Until::Time(Instant::now() + plan.span);
    let accepted = submits::at_broker(&rig.runtime, &rig.broker, until)?;
    let latency = Spread::of(accepted.took.iter().copied());
    Ok((Flow { per_second: accepted.rate(), latency }, weight))
}

/// Measures submits over HTTP and workers concurrently, until every task has an outcome; then
/// requests every task's status.
pub(super) fn end_to_end(
    rig: &mut Rig,
    plan: &Plan,
) -> Result<(Flow, Flow, CpuCost, Option<RedisCost>)> {
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    let before = rig.redis.as_mut().map(|redis| redis.counts()).transpose()?;
    let (cpu, began) = (rig.cpu(), Instant::now());
    let replies = submit_over_http(rig, plan, None)?;
    let ids = ids(&replies)?;
    let finished = workers.wait_for(ids.len() as u64);
    let span = began.elapsed();
    let cpu = CpuCost::of(&cpu, &rig.cpu(), ids.len() as f64);
    let after = rig.redis.as_mut().map(|redis| redis.counts()).transpose()?;
    check(&ids, &workers.stop(&rig.runtime)?, finished)?;

    let polls = poll(rig, plan, &ids, None)?;
    let cost = after
        .zip(before)
        .map(|(after, before)| RedisCost::of(&after.since(&before), ids.len() as f64));
    Ok((Flow { per_second: finished as f64 / span.as_secs_f64(), latency: None }, polls, cpu, cost))
}

/// Measures submits at the broker and workers concurrently, without HTTP.
pub(super) fn end_to_end_at_broker(rig: &Rig, plan: &Plan) -> Result<Flow> {
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    let began = Instant::now();
    let until = Until::Time(began + plan.span);
    let accepted = submits::at_broker(&rig.runtime, &rig.broker, until)?;
    let finished = workers.wait_for(accepted.ids.len() as u64);
    let span = began.elapsed();
    check(&accepted.ids, &workers.stop(&rig.runtime)?, finished)?;
    Ok(Flow { per_second: finished as f64 / span.as_secs_f64(), latency: None })
}

/// Measures the time from a submit's first byte to the claim that returns the task: one at a time
/// with waiting workers, and at half of the end-to-end rate.
pub(super) fn pickups(rig: &Rig, plan: &Plan, per_second: f64) -> Result<Pickups> {
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    std::thread::sleep(Duration::from_millis(300)); // until all workers wait
    let one = Plan { connections: 1, span: Duration::from_millis(5 * ROUNDS as u64), ..*plan };
    let idle = submit_over_http(rig, &one, Some(Duration::from_millis(5)))?;
    let pace = Duration::from_secs_f64(plan.connections as f64 / per_second);
    let loaded = submit_over_http(rig, plan, Some(pace))?;
    let finished = workers.wait_for((idle.len() + loaded.len()) as u64);
    let taken = workers.stop(&rig.runtime)?;
    let all: Vec<TaskId> = ids(&idle)?.into_iter().chain(ids(&loaded)?).collect();
    check(&all, &taken, finished)?;

    let taken: HashMap<TaskId, Instant> = taken.iter().map(|p| (p.task_id, p.at)).collect();
    let waits = |replies: &[Reply]| {
        Spread::of(replies.iter().filter_map(|reply| {
            Some(taken.get(&reply.task_id?)?.saturating_duration_since(reply.sent))
        }))
    };
    Ok(Pickups { idle: waits(&idle), loaded: waits(&loaded), load_per_second: load::rate(&loaded) })
}

/// Measures the time from `POST /cancel` of a running task until its slot is free: the worker
/// learns of it, records the outcome and could claim again. Without the engine's part, which is one
/// step.
pub(super) fn cancels(rig: &Rig) -> Result<Option<Spread>> {
    let body = submits::body();
    let submit = rig.target.request("POST", "/generate", Some(&body));
    let claimant = noop::claimant();
    let broker = Arc::clone(&rig.broker);
    let waits = rig.runtime.block_on(async {
        let mut feed = broker.cancellations();
        let mut connection = Connection::connect(rig.target.address).await?;
        let mut waits = Vec::new();
        tokio::time::sleep(Duration::from_millis(300)).await; // until the feed is connected
        for _ in 0..ROUNDS {
            let id = connection.send(&submit).await?.task_id.context("no task id")?;
            let claimed = broker.claim(&claimant, Duration::from_secs(5)).await?;
            let claimed = claimed.context("the submitted task was not claimed")?;
            ensure!(claimed.task.id == id, "another task was claimed");
            let cancel = rig.target.request("POST", &format!("/cancel/{id}"), None);
            let sent = Instant::now();
            let worker = async {
                loop {
                    let cancelled = tokio::time::timeout(Duration::from_secs(5), feed.next()).await;
                    if cancelled.context("the worker was not notified of the cancellation")? == id {
                        break;
                    }
                }
                broker.finish(&claimed.lease, &protocol::Outcome::CANCELLED).await?;
                anyhow::Ok(sent.elapsed())
            };
            let (asked, freed) = tokio::join!(connection.send(&cancel), worker);
            ensure!(asked?.status == 202, "the cancel was refused");
            waits.push(freed?);
        }
        anyhow::Ok(waits)
    })?;
    Ok(Spread::of(waits))
}

fn submit_over_http(rig: &Rig, plan: &Plan, pace: Option<Duration>) -> Result<Vec<Reply>> {
    let request = rig.target.request("POST", "/generate", Some(&submits::body()));
    let replies = load::repeat(&rig.target, plan.connections, plan.span, pace, request)?;
    load::expect(&replies, 202)?;
    Ok(replies)
}

/// Requests the tasks' status: of each once, or repeatedly for a while.
fn poll(rig: &Rig, plan: &Plan, ids: &[TaskId], span: Option<Duration>) -> Result<Flow> {
    let until = span.map(|span| Instant::now() + span);
    let (target, ids) = (rig.target.clone(), ids.to_vec());
    let mut next = 0;
    let replies = load::send_all(rig.target.address, plan.connections, None, move |buffer| {
        let id = ids[next % ids.len()];
        buffer.extend_from_slice(&target.request("GET", &format!("/status/{id}"), None));
        next += 1;
        until.map_or(next <= ids.len(), |until| Instant::now() < until)
    })?;
    load::expect(&replies, 200)?;
    Ok(Flow::of(&replies))
}

fn ids(replies: &[Reply]) -> Result<Vec<TaskId>> {
    replies.iter().map(|reply| reply.task_id.context("a response has no task_id")).collect()
}

/// Checks that every accepted task was taken and finished once, and nothing else was.
fn check(accepted: &[TaskId], taken: &[Pickup], finished: u64) -> Result<()> {
    let distinct: HashSet<TaskId> = taken.iter().map(|pickup| pickup.task_id).collect();
    let lost = accepted.iter().filter(|id| !distinct.contains(id)).count();
    if lost > 0 || taken.len() != accepted.len() || finished != accepted.len() as u64 {
        bail!(
            "{} tasks were accepted, {} taken ({} distinct), {finished} finished, {lost} lost",
            accepted.len(),
            taken.len(),
            distinct.len()
        );
    }
    Ok(())
}
