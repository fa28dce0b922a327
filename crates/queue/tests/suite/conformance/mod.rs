//! The conformance suite, which runs on every broker. A test is an async function that takes a
//! [`Fixture`](crate::support::Fixture), and an entry in the list below.

mod batches;
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
mod lifecycle;
mod options;
mod overview;
mod pausing;
mod publishing;
mod races;
mod reaping;
mod records;
mod remembering;
mod retries;
mod webhooks;
mod workers;

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use harness::cluster::RedisCluster;
use tokio::runtime::Builder;

use crate::support::Fixture;

macro_rules! run_on_every_broker {
    ($($topic:ident: $($test:ident),+;)+) => {
        mod on_redis {
            $(mod $topic {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::super::$topic::$test(crate::support::Fixture::redis()).await;
                })+
            })+
        }
        mod on_sqlite {
            $(mod $topic {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::super::$topic::$test(crate::support::Fixture::sqlite()).await;
                })+
            })+
        }
        mod on_redis_cluster {
            $(#[test]
            fn $topic() {
                super::on_one_cluster(&[
                    $((stringify!($test), |on| Box::pin(super::$topic::$test(on)))),+
                ]);
            })+
        }
    };
}

/// Tests of what holds exactly only within a partition: the order of tasks, lanes and tenants,
/// bounds, positions, depths and measured times. They run in one partition of the Cluster, all
/// others in three.
const IN_ONE_PARTITION: &[&str] = &[
    "a_full_queue_refuses_and_recovers",
    "the_retry_time_follows_the_pace",
    "each_model_has_a_queue_of_its_own",
    "a_tenant_has_a_bound_of_its_own",
    "bytes_are_bounded_and_counted_back",
    "no_more_letters_are_kept_than_the_bound",
    "urgent_lanes_go_first",
    "no_lane_starves",
    "a_lane_is_served_in_order",
    "a_tenant_of_many_delays_another_by_a_window",
    "a_backlog_is_served_in_order_without_the_cancelled",
    "positions_count_down",
    "an_outcome_comes_when_it_was_foretold",
    "a_paused_models_tasks_wait_while_others_go_on",
    "a_resume_wakes_a_waiting_claim",
    "nothing_is_foretold_of_a_paused_model",
    "an_unreadable_task_is_failed_and_the_next_is_claimed",
    "an_estimate_counts_the_rest",
    "what_comes_back_into_a_full_window_is_not_lost",
    "a_batch_is_what_waits_in_order",
    "lanes_take_turns_within_a_batch",
    "a_batch_leaves_others_their_part",
    "submits_at_once_get_each_its_own_answer",
    "the_feed_names_running_tasks",
    "a_repeated_submit_changes_nothing",
    "what_runs_goes_on_in_a_pause",
    "the_first_due_goes_first",
    "what_rested_does_not_wait_behind_its_backlog",
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

run_on_every_broker! {
    lifecycle:
        a_task_goes_from_submit_to_its_result,
        a_snapshot_tells_every_state,
        metrics_follow_from_the_brokers_clock,
        a_repeated_submit_changes_nothing,
        a_repeated_finish_gets_the_same_answer,
        only_one_outcome_is_ever_recorded,
        an_unknown_task_is_unknown_everywhere,
        a_failed_task_keeps_its_error,
        an_outcome_expires_with_its_ttl,
        a_queued_task_has_no_ttl;
    fencing:
        a_stale_worker_is_refused,
        a_stale_attempt_is_refused,
        a_released_lease_is_worth_nothing,
        a_late_lease_that_nobody_took_is_still_good;
    claiming:
        a_waiting_claim_is_woken_at_once,
        a_waiting_claim_is_woken_by_a_release,
        a_claim_gives_up_when_its_time_is_over,
        a_dropped_claim_loses_nothing,
        a_claim_dropped_as_a_task_arrives_loses_nothing,
        urgent_lanes_go_first,
        no_lane_starves,
        a_worker_claims_only_its_models,
        a_worker_of_several_models_waits_for_all,
        claimers_never_share_a_task,
        a_lane_is_served_in_order;
    batches:
        a_batch_is_what_waits_in_order,
        lanes_take_turns_within_a_batch,
        a_batch_leaves_others_their_part,
        a_waiting_batch_is_woken_by_the_first_task,
        a_batch_dropped_as_tasks_arrive_loses_nothing,
        outcomes_at_once_are_fenced_one_by_one,
        outcomes_repeated_at_once_get_the_same_answers,
        submits_at_once_get_each_its_own_answer;
    reaping:
        a_lease_that_ran_out_is_queued_again,
        a_renewed_lease_is_left_alone,
        attempts_used_up_are_handed_to_the_reaper,
        an_unused_release_does_not_count,
        a_failed_release_counts,
        a_repeated_release_changes_nothing,
        a_cancelled_task_is_not_queued_again,
        reapers_hold_back_after_silence,
        many_leases_are_reaped_at_once;
    cancelling:
        a_queued_task_ends_at_once,
        a_running_task_is_told_to_stop,
        an_ended_task_stays_as_it_is,
        a_cancelled_task_given_back_ends,
        the_feed_names_running_tasks;
    races:
        cancel_against_claim_against_finish,
        finishes_of_two_leases,
        reapers_against_finishers;
    events:
        a_life_is_told_in_order,
        reading_resumes_after_a_number,
        a_new_attempt_is_announced,
        every_step_is_told_at_once_and_keeps_its_number,
        old_events_go_when_there_are_too_many,
        a_watch_wakes_with_every_step,
        a_watch_sees_what_another_process_does;
    bounds:
        a_full_queue_refuses_and_recovers,
        the_retry_time_follows_the_pace,
        each_model_has_a_queue_of_its_own,
        a_tenant_has_a_bound_of_its_own,
        bytes_are_bounded_and_counted_back,
        counters_return_to_zero;
    options:
        the_same_key_is_the_same_task,
        a_key_is_forgotten_with_its_task,
        fifty_at_once_are_one_task,
        a_lost_reply_is_recognised_within_its_window,
        a_delayed_task_waits_for_its_time,
        a_reap_lets_due_tasks_in,
        a_task_past_its_deadline_expires,
        a_deadline_is_about_the_first_start;
    fairness:
        a_tenant_of_many_delays_another_by_a_window,
        a_backlog_is_served_in_order_without_the_cancelled,
        what_comes_back_into_a_full_window_is_not_lost,
        what_rested_does_not_wait_behind_its_backlog,
        positions_count_down,
        an_outcome_comes_when_it_was_foretold;
    records:
        a_record_of_another_version_is_refused_not_misread,
        an_unreadable_task_is_failed_and_the_next_is_claimed,
        an_unreadable_task_with_its_attempts_used_up_is_failed;
    remembering:
        an_expired_outcome_is_known_as_its_tenants,
        it_is_known_as_long_again_and_for_a_minute_at_least,
        an_end_frees_the_prompt,
        what_an_end_keeps_is_enough_for_all_that_follows;
    publishing:
        what_is_told_already_is_not_told_twice,
        each_attempt_is_told_from_its_start,
        a_repeated_publish_hears_of_a_cancel;
    journal:
        ends_without_a_worker_are_handed_out,
        a_recorded_end_is_owed_until_it_is_said_to_be_logged,
        what_is_noted_is_said_with_calls_that_are_made_anyhow,
        an_owed_line_outlives_its_outcome,
        what_is_logged_is_not_handed_out_again,
        no_more_are_handed_out_than_asked_for,
        an_unreadable_end_holds_nobody_up,
        a_task_cancelled_twice_is_logged_once;
    retries:
        a_failed_task_rests_before_its_next_attempt,
        without_a_rest_it_is_queued_at_once,
        a_repeated_failed_release_rests_once,
        an_estimate_counts_the_rest,
        a_resting_task_can_be_cancelled,
        a_deadline_does_not_end_a_resting_task,
        what_loses_worker_after_worker_rests,
        many_rest_and_all_come_back;
    dead_letters:
        a_letter_tells_how_every_attempt_failed,
        a_reaper_that_gives_up_is_no_attempt,
        only_the_latest_failures_are_kept,
        what_the_client_can_settle_is_no_letter,
        letters_are_listed_page_by_page,
        a_replay_is_a_new_task_and_takes_the_letter,
        replays_at_once_make_one_task,
        letters_are_purged,
        an_unreadable_letter_can_only_be_purged,
        no_more_letters_are_kept_than_the_bound;
    workers:
        reports_are_listed_until_their_ttl,
        a_worker_that_says_goodbye_is_forgotten;
    pausing:
        a_paused_models_tasks_wait_while_others_go_on,
        a_resume_wakes_a_waiting_claim,
        a_claim_that_waited_before_the_pause_gets_nothing_in_it,
        what_runs_goes_on_in_a_pause,
        tasks_end_in_a_pause,
        a_pause_holds_for_everyone_until_it_is_lifted,
        nothing_is_foretold_of_a_paused_model;
    draining:
        a_worker_learns_of_it_with_its_next_report,
        only_a_worker_that_is_there_can_be_asked,
        an_order_is_forgotten_with_its_worker,
        what_a_draining_worker_has_stays_its_own;
    overview:
        a_new_queue_has_nothing,
        every_lane_counts_for_itself,
        a_backlog_counts_as_queued,
        what_waits_for_its_time_is_in_no_lane,
        every_end_is_counted_once,
        capacity_and_pace_are_those_of_the_workers,
        models_are_listed_by_name_once_known,
        webhooks_count_from_the_end_until_they_are_done;
    webhooks:
        every_outcome_makes_exactly_one_delivery,
        ends_that_race_make_one_delivery,
        a_retried_attempt_tells_nothing,
        a_task_without_a_webhook_makes_no_delivery,
        deliverers_never_share_a_delivery,
        the_first_due_goes_first,
        a_delivery_is_due_again_when_its_deliverer_dies,
        a_late_try_that_nobody_took_over_still_counts,
        a_late_try_of_an_old_number_changes_nothing,
        a_try_later_than_the_end_changes_nothing,
        a_try_told_twice_counts_once,
        a_delivery_rests_between_tries,
        what_is_given_up_is_not_tried_again,
        a_report_keeps_the_latest_tries,
        a_delivery_outlives_the_outcome;
}
