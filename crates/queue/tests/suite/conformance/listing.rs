//! Operators' search for tasks: where each task is listed, filters, pages, and cancelling what matches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use protocol::{ErrorType, Lane, ModelId, Task, TaskId, TaskSummary, TenantId};
use queue::{
    Broker, CancelReply, ListedState, ListedTask, MAX_SEARCHED, Release, Start, SubmitOptions,
    TaskCursor, TaskFilter, TaskPage,
};

use super::endings::End;
use crate::support::*;

const ALL: TaskFilter = TaskFilter {
    states: BTreeSet::new(),
    model: None,
    lane: None,
    tenant: None,
    user_id: None,
    metadata: BTreeMap::new(),
    older_than: None,
    newer_than: None,
};

fn delayed() -> SubmitOptions {
    SubmitOptions { start: Start::After(LONG), ..SubmitOptions::PLAIN }
}

fn of_states(states: &[ListedState]) -> TaskFilter {
    TaskFilter { states: states.iter().copied().collect(), ..ALL }
}

/// Lists all tasks that match, page by page. Returns them and the number of pages.
async fn listed_by(
    broker: &dyn Broker,
    filter: &TaskFilter,
    limit: usize,
) -> (Vec<ListedTask>, usize) {
    let (mut tasks, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = broker.tasks(filter, after, limit).await.unwrap();
        assert!(page.tasks.len() <= limit, "{} of {limit}", page.tasks.len());
        assert!(page.next < after || after.is_none() || page.next.is_none(), "it goes on");
        tasks.extend(page.tasks);
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            let ids: Vec<_> = tasks.iter().map(|task| task.task.id).collect();
            assert!(ids.is_sorted_by(|one, other| one > other), "newest first, each once: {ids:?}");
            return (tasks, pages);
        }
    }
}

async fn ids(broker: &dyn Broker, filter: &TaskFilter) -> Vec<TaskId> {
    let (tasks, _) = listed_by(broker, filter, 100).await;
    tasks.into_iter().map(|task| task.task.id).collect()
}

/// Returns a task as it is listed, after checking that it is listed in exactly one state, with and without its model.
async fn listed(broker: &dyn Broker, task: &Task) -> ListedTask {
    let mut places = Vec::new();
    for state in ListedState::ALL {
        let filter = of_states(&[state]);
        let of_model = TaskFilter { model: Some(task.model.clone()), ..filter.clone() };
        let found = ids(broker, &filter).await.contains(&task.id);
        assert_eq!(ids(broker, &of_model).await.contains(&task.id), found, "{state}");
        places.extend(found.then_some(state));
    }
    let (all, _) = listed_by(broker, &ALL, 100).await;
    let found = all.into_iter().find(|listed| listed.task.id == task.id).expect("it is listed");
    assert_eq!(places, [found.state], "in exactly one state");
    found
}

async fn every_transition_moves_a_task_to_exactly_one_state(on: Fixture) {
    let broker = &*on.broker;
    let task = Task { user_id: Some("user \"7\"".into()), max_attempts: 9, ..task() };
    let at = broker.submit(&task, NO_LIMIT).await.unwrap().at;
    let found = listed(broker, &task).await;
    assert_eq!(found.task, TaskSummary::from(&task));
    assert_eq!((found.state, found.submitted_at), (ListedState::Queued, at));
    assert_eq!((found.attempt.get(), found.worker, found.started_at), (0, None, None));

    let worker = claimant(LONG);
    let held = claimed(broker, &worker).await;
    let found = listed(broker, &task).await;
    assert_eq!((found.state, found.attempt.get()), (ListedState::Processing, 1));
    assert_eq!((found.worker, found.started_at), (Some(worker.worker), Some(held.started_at)));
    assert!(!found.cancel_requested);
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    assert_eq!(listed(broker, &task).await, found);

    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let found = listed(broker, &task).await;
    assert_eq!((found.state, found.started_at), (ListedState::Queued, None));
    let held = claimed(broker, &worker).await;
    broker.release(&held.lease, &resting(Duration::from_millis(300))).await.unwrap();
    let found = listed(broker, &task).await;
    assert_eq!((found.state, found.attempt.get()), (ListedState::Delayed, 2));
    assert!(found.run_at.is_some());
    // It becomes due, and waits in its lane.
    eventually("it is due", async || {
        broker.reap(&claimant(SHORT)).await.unwrap();
        listed(broker, &task).await.state == ListedState::Queued
    })
    .await;
    assert!(broker.claim(&claimant(SHORT), LONG).await.unwrap().is_some());
    assert_eq!(listed(broker, &task).await.state, ListedState::Processing);
    let reaped = reap_until_found(broker, &claimant(SHORT)).await;
    assert_eq!(reaped.requeued, [task.id]);
    assert_eq!(listed(broker, &task).await.state, ListedState::Queued);

    let held = claimed(broker, &worker).await;
    assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Requested);
    assert!(listed(broker, &task).await.cancel_requested);
    let finished = broker.finish(&held.lease, &completed("too late")).await.unwrap();
    let found = listed(broker, &task).await;
    assert_eq!((found.state, found.finished_at), (ListedState::Completed, Some(finished)));
    assert_eq!((found.task, found.started_at), (TaskSummary::from(&task), Some(held.started_at)));
    assert!(!found.cancel_requested && found.error_type.is_none());
}

async fn every_end_is_listed_once(on: Fixture) {
    let broker = &*on.broker;
    let mut ended = Vec::new();
    for end in End::ALL {
        let task = end.submit(broker, task()).await;
        end.come(broker, &task).await;
        let found = listed(broker, &task).await;
        let (state, error) = match end {
            End::Completed => (ListedState::Completed, None),
            End::Failed => (ListedState::Failed, Some(ErrorType::EngineError)),
            End::Expired => (ListedState::Failed, Some(ErrorType::Expired)),
            End::GivenUp => (ListedState::Failed, Some(ErrorType::WorkerLost)),
            _ => (ListedState::Cancelled, None),
        };
        assert_eq!((found.state, found.error_type), (state, error), "{end:?}");
        assert_eq!(found.started_at.is_some(), end.has_started(), "{end:?}");
        let end_of = broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!((found.finished_at, found.task), (end_of.finished_at, end_of.task), "{end:?}");
        ended.insert(0, task.id);
    }
    assert_eq!(ids(broker, &ALL).await, ended);
}

async fn a_delayed_task_is_listed_apart(on: Fixture) {
    let broker = &*on.broker;
    let (waiting, cancelled) = (task(), task());
    for task in [&waiting, &cancelled] {
        broker.submit(task, &delayed()).await.unwrap();
        let found = listed(broker, task).await;
        assert_eq!(found.state, ListedState::Delayed);
        assert!(found.run_at > Some(found.submitted_at));
    }
    broker.submit(&cancelled, &delayed()).await.unwrap();
    broker.cancel(cancelled.id).await.unwrap();
    assert_eq!(listed(broker, &cancelled).await.state, ListedState::Cancelled);
    assert_eq!(ids(broker, &of_states(&[ListedState::Delayed])).await, [waiting.id]);
    let both = [ListedState::Delayed, ListedState::Cancelled, ListedState::Processing];
    assert_eq!(ids(broker, &of_states(&both)).await, [cancelled.id, waiting.id]);
}

async fn tasks_of_a_backlog_are_listed(on: Fixture) {
    let broker = &*on.broker;
    let mut tasks = Vec::new();
    for _ in 0..40 {
        tasks.insert(0, submitted(broker).await.id);
    }
    assert_eq!(ids(broker, &of_states(&[ListedState::Queued])).await, tasks);
    let worker = claimant(LONG);
    let mut running = BTreeSet::new();
    while running.len() < 20 {
        running.extend(
            broker
                .claim_batch(&worker, 20 - running.len(), NO_WAIT)
                .await
                .unwrap()
                .iter()
                .map(|held| held.task.id),
        );
    }
    let (now, left): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|id| running.contains(id));
    assert_eq!(ids(broker, &of_states(&[ListedState::Processing])).await, now);
    assert_eq!(ids(broker, &of_states(&[ListedState::Queued])).await, left);
}

async fn an_expired_outcome_is_not_listed(on: Fixture) {
    let broker = &*on.broker;
    let (short, long) = (Task { result_ttl_s: 1, ..task() }, task());
    for task in [&short, &long] {
        broker.submit(task, NO_LIMIT).await.unwrap();
        broker.cancel(task.id).await.unwrap();
    }
    assert_eq!(ids(broker, &ALL).await, [long.id, short.id]);
    eventually("it expires", async || ids(broker, &ALL).await == [long.id]).await;
    broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(ids(broker, &of_states(&[ListedState::Cancelled])).await, [long.id]);
}

async fn filters_combine(on: Fixture) {
    let broker = &*on.broker;
    let note =
        |value: &str| [("order".to_owned(), value.to_owned()), ("x".into(), "y".into())].into();
    let (a, b) = (TenantId::new("a"), TenantId::new("b"));
    let other = ModelId::new("other");
    let tasks = [
        Task { tenant: a.clone(), metadata: note("7"), ..task() },
        Task { tenant: b.clone(), lane: Lane::Low, ..task() },
        Task { tenant: b.clone(), model: other.clone(), user_id: Some("u".into()), ..task() },
        Task {
            tenant: a.clone(),
            model: other.clone(),
            lane: Lane::Low,
            metadata: note("8"),
            ..task()
        },
    ];
    for task in &tasks {
        broker.submit(task, NO_LIMIT).await.unwrap();
    }
    let found = async |filter: TaskFilter| {
        let found = ids(broker, &filter).await;
        let place = |id| tasks.iter().position(|task| task.id == id).unwrap();
        let mut found: Vec<_> = found.into_iter().map(place).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found(TaskFilter { model: Some(other.clone()), ..ALL }).await, [2, 3]);
    assert_eq!(found(TaskFilter { lane: Some(Lane::Low), ..ALL }).await, [1, 3]);
    assert_eq!(found(TaskFilter { tenant: Some(a.clone()), ..ALL }).await, [0, 3]);
    assert_eq!(found(TaskFilter { user_id: Some("u".into()), ..ALL }).await, [2]);
    assert_eq!(found(TaskFilter { metadata: note("8"), ..ALL }).await, [3]);
    let noted = [("x".to_owned(), "y".to_owned())].into();
    assert_eq!(found(TaskFilter { metadata: noted, ..ALL }).await, [0, 3]);
    let of_b = TaskFilter { tenant: Some(b), model: Some(model()), lane: Some(Lane::Low), ..ALL };
    assert_eq!(found(of_b).await, [1]);
    let nobody = TaskFilter { tenant: Some(TenantId::new("c")), ..ALL };
    assert_eq!(found(nobody).await, Vec::<usize>::new());
    let nothing = TaskFilter { model: Some(ModelId::new("unknown")), ..ALL };
    assert_eq!(found(nothing).await, Vec::<usize>::new());

    // The notes of ended tasks are kept.
    for task in &tasks {
        broker.cancel(task.id).await.unwrap();
    }
    let ended = of_states(&[ListedState::Cancelled]);
    assert_eq!(found(TaskFilter { user_id: Some("u".into()), ..ended.clone() }).await, [2]);
    assert_eq!(found(TaskFilter { metadata: note("8"), tenant: Some(a), ..ended }).await, [3]);
}

async fn ages_are_of_the_submit(on: Fixture) {
    let broker = &*on.broker;
    let old = submitted(broker).await.id;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let young = submitted(broker).await.id;
    let second = Some(Duration::from_secs(1));
    let older = ids(broker, &TaskFilter { older_than: second, ..ALL }).await;
    let newer = ids(broker, &TaskFilter { newer_than: second, ..ALL }).await;
    assert_eq!((older, newer), (vec![old], vec![young]));
    let never = TaskFilter { older_than: Some(LONG), ..ALL };
    assert_eq!(ids(broker, &never).await, []);
    let both = TaskFilter { older_than: Some(Duration::ZERO), newer_than: Some(LONG), ..ALL };
    assert_eq!(ids(broker, &both).await, [young, old]);
}

async fn pages_have_neither_gaps_nor_repetitions_while_tasks_move(on: Fixture) {
    let broker = &*on.broker;
    let mut first = BTreeSet::new();
    for number in 0..60 {
        let options = if number % 5 == 0 { delayed() } else { SubmitOptions::PLAIN };
        let task = Task { tenant: TenantId::new(format!("t{}", number % 3)), ..task() };
        broker.submit(&task, &options).await.unwrap();
        first.insert(task.id);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    let worker = claimant(LONG);
    loop {
        let page = broker.tasks(&ALL, after, 7).await.unwrap();
        seen.extend(page.tasks.iter().map(|task| task.task.id));
        after = page.next;
        if after.is_none() {
            break;
        }
        // Between two pages tasks arrive, start, go back, wait and end, whether they were listed or not.
        submitted(broker).await;
        for step in 0..4 {
            let Some(held) = broker.claim(&worker, NO_WAIT).await.unwrap() else { break };
            match step {
                0 => drop(broker.finish(&held.lease, &completed("x")).await.unwrap()),
                1 => broker.release(&held.lease, &Release::Unused).await.unwrap(),
                2 => broker.release(&held.lease, &resting(LONG)).await.unwrap(),
                _ => {}
            }
        }
        let delayed = broker.tasks(&of_states(&[ListedState::Delayed]), None, 1).await.unwrap();
        for task in delayed.tasks {
            broker.cancel(task.task.id).await.unwrap();
        }
    }
    seen.retain(|id| first.contains(id));
    assert!(seen.is_sorted_by(|one, other| one > other), "{seen:?}");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), first);
}

async fn a_cursor_outlives_its_task(on: Fixture) {
    let broker = &*on.broker;
    let tasks = [submitted(broker).await, submitted(broker).await, submitted(broker).await];
    let TaskPage { tasks: page, next } = broker.tasks(&ALL, None, 1).await.unwrap();
    assert_eq!(page[0].task.id, tasks[2].id);
    broker.cancel(tasks[2].id).await.unwrap();
    let queued = of_states(&[ListedState::Queued]);
    let page = broker.tasks(&queued, next, 5).await.unwrap();
    let found: Vec<_> = page.tasks.iter().map(|task| task.task.id).collect();
    assert_eq!((found, page.next), (vec![tasks[1].id, tasks[0].id], None));
    let (lowest, highest) = ("0".repeat(32), "f".repeat(32));
    let at = |text: String| text.parse::<TaskCursor>().ok();
    let page = broker.tasks(&ALL, at(lowest), 5).await.unwrap();
    assert_eq!(page, TaskPage::default(), "nothing is behind the first");
    let page = broker.tasks(&ALL, at(highest), 5).await.unwrap();
    assert_eq!((page.tasks.len(), page.next), (3, None));
    assert_eq!(broker.tasks(&ALL, None, 3).await.unwrap().next, None, "the last page says so");
}

async fn a_page_searches_a_bounded_number_of_tasks(on: Fixture) {
    let broker = &*on.broker;
    let rare = Task { tenant: TenantId::new("rare"), ..task() };
    broker.submit(&rare, NO_LIMIT).await.unwrap();
    let many: Vec<_> = (0..2 * MAX_SEARCHED).map(|_| task()).collect();
    for some in many.chunks(128) {
        try_join_all(some.iter().map(|task| broker.submit(task, NO_LIMIT))).await.unwrap();
    }
    let filter = TaskFilter { tenant: Some(rare.tenant.clone()), ..ALL };
    let page = broker.tasks(&filter, None, 10).await.unwrap();
    assert!(page.tasks.is_empty() && page.next.is_some(), "it is too old for one page: {page:?}");
    let (found, pages) = listed_by(broker, &filter, 10).await;
    assert_eq!((found[0].task.id, found.len(), pages), (rare.id, 1, 3));
    // Filters by state and model need no more pages than they have tasks for.
    let queued = TaskFilter { model: Some(model()), ..of_states(&[ListedState::Queued]) };
    let (found, pages) = listed_by(broker, &queued, 100).await;
    assert_eq!((found.len(), pages), (2 * MAX_SEARCHED + 1, 6));
}

async fn only_matching_queued_tasks_are_cancelled(on: Fixture) {
    let broker = &*on.broker;
    let (ours, theirs) = (TenantId::new("ours"), TenantId::new("theirs"));
    let of = |tenant: &TenantId| Task { tenant: tenant.clone(), ..task() };
    let running = of(&ours);
    broker.submit(&running, NO_LIMIT).await.unwrap();
    let held = claimed(broker, &claimant(LONG)).await;
    let (waiting, later, other) = (of(&ours), of(&ours), of(&theirs));
    broker.submit(&waiting, NO_LIMIT).await.unwrap();
    broker.submit(&later, &delayed()).await.unwrap();
    broker.submit(&other, NO_LIMIT).await.unwrap();
    let filter = TaskFilter { tenant: Some(ours), ..ALL };

    let found = broker.cancel_matching(&filter, None, 100, true).await.unwrap();
    assert_eq!(found.matched, [later.id, waiting.id]);
    assert!(found.cancelled.is_empty() && found.next.is_none());
    assert_eq!(listed(broker, &waiting).await.state, ListedState::Queued, "nothing was cancelled");

    let only = TaskFilter { states: [ListedState::Processing].into(), ..filter.clone() };
    let none = broker.cancel_matching(&only, None, 100, false).await.unwrap();
    assert_eq!((none.matched.len(), none.next), (0, None));

    let page = broker.cancel_matching(&filter, None, 1, false).await.unwrap();
    assert_eq!((page.matched, page.cancelled), (vec![later.id], vec![later.id]));
    let page = broker.cancel_matching(&filter, page.next, 1, false).await.unwrap();
    assert_eq!(page.cancelled, [waiting.id]);
    for task in [&waiting, &later] {
        assert_eq!(listed(broker, task).await.state, ListedState::Cancelled);
    }
    assert_eq!(listed(broker, &other).await.state, ListedState::Queued);
    assert!(!broker.renew(&held.lease, LONG).await.unwrap().cancel_requested, "it goes on");
    let overview = broker.overview().await.unwrap();
    assert_eq!((overview.queues[0].cancelled, overview.queues[0].delayed), (2, 0));
}

async fn a_task_that_was_claimed_meanwhile_goes_on(on: Fixture) {
    let broker = &*on.broker;
    let tasks = [submitted(broker).await.id, submitted(broker).await.id];
    let found = broker.cancel_matching(&ALL, None, 10, true).await.unwrap().matched;
    assert_eq!(found.len(), 2);
    let held = claimed(broker, &claimant(LONG)).await;
    let asked = [found, vec![TaskId::new()]].concat();
    let cancelled = broker.cancel_queued(&asked).await.unwrap();
    let left: Vec<_> = tasks.into_iter().filter(|id| *id != held.task.id).collect();
    assert_eq!(cancelled, left);
    assert_eq!(broker.cancel_queued(&asked).await.unwrap(), [], "once");
    let end = completed("it was running");
    broker.finish(&held.lease, &end).await.unwrap();
    assert_eq!(broker.snapshot(held.task.id).await.unwrap().unwrap().outcome, Some(end));
    assert_eq!(broker.cancel_queued(&asked).await.unwrap(), [], "it has ended");
    assert_eq!(broker.cancel_queued(&[]).await.unwrap(), []);
}

/// Whether it is cancelled or claimed: each task has one fate.
async fn tasks_are_cancelled_and_claimed_at_once(on: Fixture) {
    let broker = &*on.broker;
    let tasks: Vec<_> = (0..80).map(|_| task()).collect();
    try_join_all(tasks.iter().map(|task| broker.submit(task, NO_LIMIT))).await.unwrap();
    let all: BTreeSet<_> = tasks.iter().map(|task| task.id).collect();
    let other = on.another();
    let claims = tokio::spawn(async move {
        let (worker, mut held) = (claimant(LONG), BTreeSet::new());
        loop {
            let some = other.claim_batch(&worker, 4, NO_WAIT).await.unwrap();
            if some.is_empty() {
                return held;
            }
            held.extend(some.iter().map(|claimed| claimed.task.id));
        }
    });
    let (mut cancelled, mut after) = (BTreeSet::new(), None);
    loop {
        let page = broker.cancel_matching(&ALL, after, 5, false).await.unwrap();
        cancelled.extend(page.cancelled);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let held = claims.await.unwrap();
    assert!(held.is_disjoint(&cancelled));
    assert_eq!(held.union(&cancelled).copied().collect::<BTreeSet<_>>(), all);
    let of =
        async |state| ids(broker, &of_states(&[state])).await.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(of(ListedState::Cancelled).await, cancelled);
    assert_eq!(of(ListedState::Processing).await, held);
    assert!(of(ListedState::Queued).await.is_empty());
}

run_on_every_broker! {
    every_transition_moves_a_task_to_exactly_one_state,
    every_end_is_listed_once,
    a_delayed_task_is_listed_apart,
    tasks_of_a_backlog_are_listed,
    an_expired_outcome_is_not_listed,
    filters_combine,
    ages_are_of_the_submit,
    pages_have_neither_gaps_nor_repetitions_while_tasks_move,
    a_cursor_outlives_its_task,
    a_page_searches_a_bounded_number_of_tasks,
    only_matching_queued_tasks_are_cancelled,
    a_task_that_was_claimed_meanwhile_goes_on,
    tasks_are_cancelled_and_claimed_at_once,
}
