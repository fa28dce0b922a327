//! A computation that hangs: the compute thread is stopped, the worker's other threads run.

use std::time::{Duration, Instant};

use harness::freezer::Frozen;
use harness::models;
use harness::system::{Plan, System};

use crate::watching::{LONG, Witness, attempts, long};

const LEASE: Duration = Duration::from_secs(2);
/// Long enough for the lease to expire twice, if the compute thread renewed it.
const LIMIT: Duration = Duration::from_secs(5);
/// How much longer than its limit the worker lets a task run (`STALL_GRACE`), with a margin.
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_stalled_task_keeps_its_lease_until_its_limit_and_is_then_retried_elsewhere() {
    let model = models::slow();
    let limit = LIMIT.as_secs().to_string();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: LEASE,
        settings: &[("MAX_BATCH_SIZE", "2"), ("TASK_TIME_LIMIT", &limit)],
    };
    let mut system = System::start(&plan);
    let mut witness = Witness::new();
    let stuck = witness.submit(&system.client, &long(150));
    system.client.follow(&stuck, |event| event.name == "token");
    let frozen = Frozen::thread(system.workers[0].process().pid(), "engine-compute");
    let began = Instant::now();
    // A worker that could take over the task if its lease expired.
    system.add_worker(&[]);
    system.wait_for_workers(2);
    for _ in 0..4 {
        witness.submit(&system.client, &long(10));
    }

    system.holder(&stuck, 2, LONG);
    let took = began.elapsed();
    println!("begun again {:.2} s after the stall, the limit is {LIMIT:?}", took.as_secs_f64());
    assert!(took >= LIMIT, "the lease of a living worker expired: {took:?}");
    assert!(took <= LIMIT + GRACE, "{took:?}");
    // The worker whose computation hangs exits, so that its supervisor starts another, and the
    // other workers do its remaining tasks.
    system.workers[0].wait_for_end(LONG);
    drop(frozen);
    let history = witness.judge(&system, 0);
    for events in history.events.values() {
        assert_eq!(events.last().expect("an end").name, "completed", "{events:?}");
        assert!(attempts(events) <= 2, "{events:?}");
    }
}
