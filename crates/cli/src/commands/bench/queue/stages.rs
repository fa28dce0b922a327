//! The stages, each on a fresh rig: what is put in must come out, once, or the stage fails.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use protocol::TaskId;

use super::super::load::{self, Line, Shot};
use super::super::spread::Spread;
use super::noop::{self, Pickup, Workers};
use super::report::{CpuCost, Flow, Pickups, RedisCost};
use super::rig::Rig;
use super::submits::{self, Until};

/// Rounds of what is measured one at a time.
const ROUNDS: usize = 200;
/// Tasks whose memory is measured.
const WEIGHED: usize = 10_000;

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Of each stage.
    pub(super) span: Duration,
    /// Of the load generator.
    pub(super) connections: usize,
    /// No-op workers.
    pub(super) workers: usize,
}

/// Submits over HTTP alone, then polls of the queued tasks, then workers alone.
pub(super) fn apart(rig: &Rig, plan: &Plan) -> Result<(Flow, Flow, Flow)> {
    let shots = submit_over_http(rig, plan, None)?;
    let ids = ids(&shots)?;
    let polls = poll(rig, plan, &ids, Some(plan.span))?;

    let began = Instant::now();
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    let finished = workers.wait_for(ids.len() as u64);
    let span = began.elapsed();
    check(&ids, &workers.stop(&rig.runtime)?, finished)?;
    let drain = Flow { per_second: finished as f64 / span.as_secs_f64(), latency: None };
    Ok((Flow::of(&shots), polls, drain))
}

/// Submits at the broker, and what 10,000 queued tasks weigh.
pub(super) fn broker_submits(rig: &mut Rig, plan: &Plan) -> Result<(Flow, u64)> {
    let before = rig.size()?;
    submits::at_broker(&rig.runtime, &rig.broker, Until::Count(WEIGHED))?;
    std::thread::sleep(Duration::from_millis(200));
    let weight = rig.size()?.saturating_sub(before);
    let until = Until::Time(Instant::now() + plan.span);
    let accepted = submits::at_broker(&rig.runtime, &rig.broker, until)?;
    let latency = Spread::of(accepted.took.iter().copied());
    Ok((Flow { per_second: accepted.rate(), latency }, weight))
}

/// Submits over HTTP and workers at the same time, until all is done; then every task is looked up.
pub(super) fn end_to_end(
    rig: &mut Rig,
    plan: &Plan,
) -> Result<(Flow, Flow, CpuCost, Option<RedisCost>)> {
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    let before = rig.redis.as_mut().map(|redis| redis.counts()).transpose()?;
    let (cpu, began) = (rig.cpu(), Instant::now());
    let shots = submit_over_http(rig, plan, None)?;
    let ids = ids(&shots)?;
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

/// The same without HTTP: submits at the broker and workers at the same time.
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

/// From a submit's first byte to the claim that has the task: one at a time with a worker that waits,
/// and at half of the rate that the whole can do.
pub(super) fn pickups(rig: &Rig, plan: &Plan, per_second: f64) -> Result<Pickups> {
    let workers = Workers::start(&rig.runtime, &rig.broker, plan.workers);
    std::thread::sleep(Duration::from_millis(300)); // all wait
    let one = Plan { connections: 1, span: Duration::from_millis(5 * ROUNDS as u64), ..*plan };
    let idle = submit_over_http(rig, &one, Some(Duration::from_millis(5)))?;
    let pace = Duration::from_secs_f64(plan.connections as f64 / per_second);
    let loaded = submit_over_http(rig, plan, Some(pace))?;
    let finished = workers.wait_for((idle.len() + loaded.len()) as u64);
    let taken = workers.stop(&rig.runtime)?;
    let all: Vec<TaskId> = ids(&idle)?.into_iter().chain(ids(&loaded)?).collect();
    check(&all, &taken, finished)?;

    let taken: HashMap<TaskId, Instant> = taken.iter().map(|p| (p.task_id, p.at)).collect();
    let waits = |shots: &[Shot]| {
        Spread::of(shots.iter().filter_map(|shot| {
            Some(taken.get(&shot.task_id?)?.saturating_duration_since(shot.sent))
        }))
    };
    Ok(Pickups { idle: waits(&idle), loaded: waits(&loaded), load_per_second: load::rate(&loaded) })
}

/// From `POST /cancel` of a running task to its slot being free: the worker hears of it, records the
/// outcome, and could claim again. The engine's part, one step, is not in it.
pub(super) fn cancels(rig: &Rig) -> Result<Option<Spread>> {
    let body = submits::body();
    let submit = rig.target.request("POST", "/generate", Some(&body));
    let claimant = noop::claimant();
    let broker = Arc::clone(&rig.broker);
    let waits = rig.runtime.block_on(async {
        let mut feed = broker.cancellations();
        let mut line = Line::connect(rig.target.address).await?;
        let mut waits = Vec::new();
        tokio::time::sleep(Duration::from_millis(300)).await; // until the feed is connected
        for _ in 0..ROUNDS {
            let id = line.ask(&submit).await?.task_id.context("no task id")?;
            let claimed = broker.claim(&claimant, Duration::from_secs(5)).await?;
            let claimed = claimed.context("the task that was just submitted is not there")?;
            ensure!(claimed.task.id == id, "another task came");
            let cancel = rig.target.request("POST", &format!("/cancel/{id}"), None);
            let sent = Instant::now();
            let worker = async {
                loop {
                    let told = tokio::time::timeout(Duration::from_secs(5), feed.next()).await;
                    if told.context("the worker never heard of the cancel")? == id {
                        break;
                    }
                }
                broker.finish(&claimed.lease, &protocol::Outcome::Cancelled).await?;
                anyhow::Ok(sent.elapsed())
            };
            let (asked, freed) = tokio::join!(line.ask(&cancel), worker);
            ensure!(asked?.status == 202, "the cancel was refused");
            waits.push(freed?);
        }
        anyhow::Ok(waits)
    })?;
    Ok(Spread::of(waits))
}

fn submit_over_http(rig: &Rig, plan: &Plan, pace: Option<Duration>) -> Result<Vec<Shot>> {
    let request = rig.target.request("POST", "/generate", Some(&submits::body()));
    let shots = load::repeat(&rig.target, plan.connections, plan.span, pace, request)?;
    load::expect(&shots, 202)?;
    Ok(shots)
}

/// Polls the tasks: each once, or round and round for a while.
fn poll(rig: &Rig, plan: &Plan, ids: &[TaskId], span: Option<Duration>) -> Result<Flow> {
    let until = span.map(|span| Instant::now() + span);
    let (target, ids) = (rig.target.clone(), ids.to_vec());
    let mut next = 0;
    let shots = load::fire(rig.target.address, plan.connections, None, move |buffer| {
        let id = ids[next % ids.len()];
        buffer.extend_from_slice(&target.request("GET", &format!("/status/{id}"), None));
        next += 1;
        until.map_or(next <= ids.len(), |until| Instant::now() < until)
    })?;
    load::expect(&shots, 200)?;
    Ok(Flow::of(&shots))
}

fn ids(shots: &[Shot]) -> Result<Vec<TaskId>> {
    shots.iter().map(|shot| shot.task_id.context("an answer without a task_id")).collect()
}

/// Every accepted task was taken and finished once, and nothing else was.
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
