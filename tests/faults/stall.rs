//! A computation that hangs: the thread that computes stands still, the worker around it does not.

use std::time::{Duration, Instant};

use harness::freezer::Frozen;
use harness::models;
use harness::system::{Plan, System};

use crate::watching::{LONG, Witness, attempts, long};

const LEASE: Duration = Duration::from_secs(2);
/// Long enough for the lease to run out twice, were it renewed by the thread that hangs.
const LIMIT: Duration = Duration::from_secs(5);
/// How much longer than its limit the worker lets a task go on (`STALL_GRACE`), and some.
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_stalled_computation_keeps_its_lease_until_the_time_limit_and_then_ends() {
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
    let stuck = witness.submit(&system.client, &long(2000));
    system.client.follow(&stuck, |event| event.name == "token");
    let frozen = Frozen::thread(system.workers[0].process().pid(), "engine-compute");
    let began = Instant::now();
    // One that could take the task over, if only the lease ran out.
    system.add_worker(&[]);
    system.wait_for_workers(2);
    let others: Vec<String> = (0..4).map(|_| witness.submit(&system.client, &long(10))).collect();

    let end = system.client.wait_for_result(&stuck, LIMIT + GRACE + LONG);
    let took = began.elapsed();
    println!("ended {:.2} s after the stall, the limit is {LIMIT:?}", took.as_secs_f64());
    assert_eq!(end.body["error_type"], "time_limit_exceeded", "{end:?}");
    assert!(took <= LIMIT + GRACE, "{took:?}");
    // A worker whose computation hangs is of no use: it goes, so that its supervisor starts another,
    // and what else it had is done by those that live.
    system.workers[0].wait_for_end(LONG);
    drop(frozen);
    let history = witness.judge(&system, 0);
    assert_eq!(attempts(&history.events[&stuck]), 1, "{:?}", history.events[&stuck]);
    for task in &others {
        let events = &history.events[task];
        assert_eq!(events.last().expect("an end").name, "completed", "{events:?}");
    }
}
