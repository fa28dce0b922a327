//! The conformance suite, which runs on every broker. A test is an async function that takes a
//! [`Fixture`](crate::support::Fixture), and an entry in the list at the end of its file.

/// Runs a topic's tests on every broker. Each topic's file ends with the list of its tests.
macro_rules! run_on_every_broker {
    ($($test:ident),+ $(,)?) => {
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::support::Fixture::redis()).await;
            })+
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::support::Fixture::sqlite()).await;
            })+
        }
        #[test]
        fn on_redis_cluster() {
            super::on_one_cluster(&[
                $((stringify!($test), |on| Box::pin($test(on)))),+
            ]);
        }
    };
}

mod batch_records;
mod batches;
mod blob_crashes;
pub(crate) mod blobs;
mod bounds;
mod cancelling;
mod claiming;
mod dead_letters;
mod draining;
mod endings;
mod events;
mod fairness;
mod fencing;
mod journal;
pub(crate) mod keys;
mod lifecycle;
mod listing;
mod metering;
mod options;
mod overview;
mod pausing;
mod periodic;
mod publishing;
mod races;
mod reaping;
mod records;
mod remembering;
mod result_cache;
mod retries;
mod settling;
mod settling_chaos;
mod webhooks;
mod workers;

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use harness::cluster::RedisCluster;
use tokio::runtime::Builder;

use crate::support::Fixture;

/// Tests of what holds exactly only within a partition: the order of tasks, lanes and tenants,
/// bounds, positions, depths and measured times. They run in one partition of the Cluster, all
/// others in three.
const IN_ONE_PARTITION: &[&str] = &[
    "a_full_queue_refuses_and_recovers",
    "retry_after_follows_the_measured_service_time",
    "each_model_has_its_own_queue",
    "each_tenant_has_its_own_bound",
    "queued_bytes_are_bounded_and_released",
    "number_of_dead_letters_is_bounded",
    "lanes_are_served_by_priority",
    "no_lane_starves",
    "a_lane_is_served_in_order",
    "tenant_with_many_tasks_delays_others_by_at_most_a_window",
    "backlog_is_served_in_order_without_cancelled_tasks",
    "queue_positions_count_down",
    "outcome_arrives_within_its_estimate",
    "tasks_of_less_than_a_millisecond_are_measured",
    "tasks_of_a_paused_model_wait_while_others_run",
    "a_resume_wakes_a_waiting_claim",
    "paused_model_has_no_eta",
    "an_unreadable_task_is_failed_and_the_next_is_claimed",
    "estimate_includes_the_backoff",
    "tasks_released_into_a_full_window_are_not_lost",
    "batch_claim_returns_queued_tasks_in_order",
    "lanes_take_turns_within_a_batch",
    "claim_takes_no_more_batch_tasks_than_there_is_room_for",
    "batch_claim_leaves_other_workers_their_share",
    "concurrent_submits_each_get_their_own_answer",
    "cancellation_feed_names_running_tasks",
    "a_repeated_submit_changes_nothing",
    "running_tasks_continue_during_a_pause",
    "deliveries_are_taken_in_order_of_due_time",
    "task_after_a_backoff_does_not_wait_behind_the_backlog",
    "a_page_searches_a_bounded_number_of_tasks",
    "bytes_are_bounded_and_the_oldest_is_evicted",
    "a_tenant_with_many_results_evicts_its_own",
];

type Test = (&'static str, fn(Fixture) -> LocalBoxFuture<'static, ()>);

/// Runs a topic's tests one after the other, since a Cluster takes two seconds to start. The
/// thread's name shows which test failed.
fn on_one_cluster(tests: &[Test]) {
    let cluster = Arc::new(RedisCluster::start());
    let mut failed = Vec::new();
    for (name, test) in tests {
        cluster.flush();
        let partitions = if IN_ONE_PARTITION.contains(name) { 1 } else { 3 };
        let (on, test) = (Fixture::redis_cluster(&cluster, partitions), *test);
        let thread = std::thread::Builder::new().name((*name).to_owned()).spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(test(on));
        });
        if thread.unwrap().join().is_err() {
            failed.push(name);
        }
    }
    assert!(
        failed.is_empty(),
        "on a Cluster failed: {failed:?} (does it rely on order? see IN_ONE_PARTITION)"
    );
}
