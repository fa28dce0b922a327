//! Redis' clock is moved under a running queue: no lease is lost, and none is stranded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::clock::Clock;
use harness::redis::RedisServer;
use protocol::{Task, TaskId, Timestamp, WorkerReport};
use queue::{Broker, Claimant, Lease, Reaped};

use crate::support::*;

const HOUR: i64 = 3_600;
const LEASE: Duration = Duration::from_millis(400);
/// Two leases, and what a busy machine adds.
const RECOVERED: Duration = Duration::from_millis(2 * 400 + 300);

/// A queue in which one worker lives.
struct Scene {
    broker: Arc<dyn Broker>,
    reaper: Claimant,
    living: Lease,
}

impl Scene {
    async fn set(server: &RedisServer) -> Self {
        let (broker, reaper) = (redis_broker(server), claimant(LEASE));
        submitted(&*broker).await;
        let living = claimed(&*broker, &claimant(LEASE)).await.lease;
        let scene = Self { broker, reaper, living };
        let until = Instant::now() + LEASE * 2; // the very first reaps hold back
        while Instant::now() < until {
            assert_eq!(scene.beat().await, Reaped::default());
        }
        scene
    }

    /// A task whose worker has died just now.
    async fn abandoned(&self) -> Task {
        let task = submitted(&*self.broker).await;
        assert_eq!(claimed(&*self.broker, &claimant(LEASE)).await.task, task);
        task
    }

    /// Renews the living worker's lease and reaps, as often as processes do.
    async fn beat(&self) -> Reaped {
        let renewed = self.broker.renew(&self.living, LEASE).await;
        renewed.expect("the living one keeps its task");
        tokio::time::sleep(LEASE / 8).await;
        self.broker.reap(&self.reaper).await.unwrap()
    }

    /// Waits until that task alone is queued again, and ends it.
    async fn recovers(&self, task: &Task, what: &str) {
        let begun = Instant::now();
        loop {
            let reaped = self.beat().await;
            if reaped != Reaped::default() {
                assert_eq!(reaped, Reaped { requeued: vec![task.id], ..Reaped::default() });
                break;
            }
            assert!(begun.elapsed() < LEASE * 10, "stranded {what}");
        }
        let took = begun.elapsed();
        assert!(took < RECOVERED, "{took:?} {what}");
        let again = claimed(&*self.broker, &claimant(LONG)).await;
        assert_eq!((again.task.id, again.failed_attempts), (task.id, 1));
        self.broker.finish(&again.lease, &completed("x")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_survive_clock_steps_in_both_directions() {
    let clock = Clock::new();
    let server = RedisServer::with_clock(&clock);
    let scene = Scene::set(&server).await;
    let service = async || scene.broker.overview().await.unwrap().queues[0].service_ms;
    for at in [-HOUR, 0, -24 * HOUR, HOUR, 0] {
        let task = scene.abandoned().await;
        clock.set(at);
        scene.recovers(&task, &format!("after a step to {at} s")).await;
        let task = scene.abandoned().await;
        scene.recovers(&task, &format!("in the time after a step to {at} s")).await;
        assert!(service().await >= 0.0, "no span is negative");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_survive_two_clock_steps_between_reaps_or_in_a_row() {
    let clock = Clock::new();
    let server = RedisServer::with_clock(&clock);
    let scene = Scene::set(&server).await;
    let task = scene.abandoned().await;
    clock.set(HOUR);
    scene.broker.renew(&scene.living, LEASE).await.unwrap();
    clock.set(-HOUR);
    scene.recovers(&task, "after forward and back").await;
    let task = scene.abandoned().await;
    clock.set(0);
    assert_eq!(scene.beat().await, Reaped::default());
    clock.set(2 * HOUR); // while the reapers hold back because of the step before
    scene.recovers(&task, "after forward twice").await;
}

/// As when a replica takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_survive_failover_to_a_server_with_another_clock() {
    for offset in [-HOUR, HOUR] {
        let clock = Clock::new();
        let mut server = RedisServer::with_clock(&clock);
        let scene = Scene::set(&server).await;
        let task = scene.abandoned().await;
        server.kill();
        clock.set(offset);
        server.restart();
        eventually("back", async || scene.broker.ping().await.is_ok()).await;
        scene.recovers(&task, &format!("on a server whose clock is {offset} s off")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn longer_leases_of_other_workers_survive_a_clock_step() {
    let clock = Clock::new();
    let server = RedisServer::with_clock(&clock);
    let scene = Scene::set(&server).await;
    // Its process reaps too, with its own lease.
    scene.broker.reap(&claimant(LEASE * 4)).await.unwrap();
    submitted(&*scene.broker).await;
    let long = claimed(&*scene.broker, &claimant(LEASE * 4)).await.lease;
    clock.set(-HOUR);
    let begun = Instant::now();
    while begun.elapsed() < LEASE * 3 {
        assert_eq!(scene.beat().await, Reaped::default());
    }
    scene.broker.renew(&long, LEASE * 4).await.expect("it had until now");
}

/// Instants that the old clock wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backoffs_and_other_short_deadlines_survive_a_clock_step() {
    let clock = Clock::new();
    let server = RedisServer::with_clock(&clock);
    let scene = Scene::set(&server).await;
    let broker = &*scene.broker;
    let score = |key: &str, member: String| -> i64 {
        server.command(&["ZSCORE", &format!("qq:{{0}}:{key}"), &member]).parse().unwrap()
    };
    let now = || -> i64 {
        let time = server.command(&["TIME"]);
        time.lines().next().unwrap().parse::<i64>().unwrap() * 1_000
    };
    let delayed = task();
    let later = Timestamp::now() + Duration::from_secs(7_200);
    let options = queue::SubmitOptions { start: queue::Start::At(later), ..Default::default() };
    broker.submit(&delayed, &options).await.unwrap();
    let resting = submitted(broker).await;
    let held = claimed(broker, &claimant(LONG)).await;
    broker.release(&held.lease, &super::support::resting(Duration::from_secs(50))).await.unwrap();
    let unlogged = submitted(broker).await;
    broker.cancel(unlogged.id).await.unwrap();
    assert_eq!(broker.unlogged(Duration::from_secs(10), 10).await.unwrap().len(), 1);
    let hook = with_webhook(task());
    broker.submit(&hook, NO_LIMIT).await.unwrap();
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let pause = Duration::from_millis(600);
    assert_eq!(broker.due_webhooks(pause, 10).await.unwrap().len(), 1);
    let gone = report(1);
    broker.report_worker(&gone, Duration::from_secs(10)).await.unwrap();

    clock.set(-HOUR);
    scene.beat().await;
    let minute = |what: i64| (0..=61_000).contains(&(what - now()));
    let id = |id: TaskId| id.to_string();
    assert!(minute(score("delayed", id(resting.id))), "a rest");
    assert!(minute(score("unlogged", id(unlogged.id))), "a line to log");
    assert!(minute(score("seen", gone.id.to_string())), "a report");
    assert_eq!(score("delayed", id(delayed.id)), later.as_millis() as i64, "an instant stays");
    let run_at = broker.snapshot(resting.id).await.unwrap().unwrap().run_at.unwrap();
    assert_eq!(score("delayed", id(resting.id)), run_at.as_millis() as i64);
    tokio::time::sleep(pause).await;
    assert_eq!(broker.due_webhooks(pause, 10).await.unwrap().len(), 1, "a webhook's next try");
}

#[tokio::test]
async fn age_of_a_worker_report_ignores_the_workers_clock() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let ahead = Timestamp::now() + Duration::from_secs(3_600);
    let fast = WorkerReport { reported_at: Some(ahead), ..report(1) };
    broker.report_worker(&fast, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let now = broker.overview().await.unwrap().at;
    let seen = broker.workers().await.unwrap()[0].reported_at.unwrap();
    assert!(now.seconds_since(seen) >= 0.2, "seen {seen:?}, now {now:?}");
}
