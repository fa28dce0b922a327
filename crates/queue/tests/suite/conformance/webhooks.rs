//! Webhook deliveries: what is due, who takes it, and what became of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Outcome, Task, TaskSnapshot, TenantId, Webhook, WebhookForm, WebhookId};
use queue::{
    Broker, CancelReply, Content, Delivery, MAX_TRIES_KEPT, Notice, TaskEnd, TryResult, Verdict,
    WebhookReport, WebhookState,
};

use super::endings::End;
use crate::support::*;

/// A deliverer's lease, short enough to wait for.
const SPAN: Duration = Duration::from_millis(500);

/// Returns a task with a webhook that has just ended.
async fn ended(broker: &dyn Broker) -> Task {
    let task = End::Completed.submit(broker, with_webhook(task())).await;
    End::Completed.come(broker, &task).await;
    task
}

/// Takes the only delivery that is due.
async fn taken(broker: &dyn Broker, span: Duration) -> Delivery {
    let [delivery] = broker.due_webhooks(span, 10).await.unwrap().try_into().expect("one is due");
    delivery
}

fn outcome(delivery: &Delivery) -> &Outcome {
    &delivery.task().unwrap().outcome
}

async fn none_is_due(broker: &dyn Broker) -> bool {
    broker.due_webhooks(LONG, 10).await.unwrap().is_empty()
}

async fn report_of(broker: &dyn Broker, id: impl Into<WebhookId>) -> WebhookReport {
    broker.webhook(id.into()).await.unwrap().expect("a report")
}

/// Returns the numbers of the tries in a report.
fn numbers(report: &WebhookReport) -> Vec<u32> {
    report.tries.iter().map(|tried| tried.number).collect()
}

async fn every_outcome_makes_exactly_one_delivery(on: Fixture) {
    let broker = &*on.broker;
    for end in End::ALL {
        let task = end.submit(broker, with_webhook(task())).await;
        assert!(none_is_due(broker).await, "{end:?} has not come");
        let before = report_of(broker, task.id).await;
        assert_eq!((before.state, before.next_at), (WebhookState::Waiting, None), "{end:?}");

        end.come(broker, &task).await;
        let snapshot = broker.snapshot(task.id).await.unwrap().unwrap();
        let due = report_of(broker, task.id).await;
        assert_eq!((due.state, due.next_at), (WebhookState::Pending, snapshot.finished_at));
        let delivery = taken(broker, LONG).await;
        assert_eq!(delivery, expected(&task, &snapshot), "{end:?}");
        assert_eq!(delivery.task().unwrap().started_at.is_some(), end.has_started(), "{end:?}");

        assert!(matches!(broker.cancel(task.id).await.unwrap(), CancelReply::AlreadyEnded(_)));
        assert!(none_is_due(broker).await, "{end:?} makes but one");
        broker.webhook_tried(task.id.into(), &tried(1), Verdict::Delivered).await.unwrap();
        let done = report_of(broker, task.id).await;
        assert_eq!((done.state, done.next_at), (WebhookState::Delivered, None), "{end:?}");
        assert_eq!((&done.tenant, done.url), (&task.tenant, task.webhook.unwrap().url));
        assert_eq!(done.tries, [tried(1)], "{end:?}");
    }
    assert!(none_is_due(broker).await);
}

fn expected(task: &Task, end: &TaskSnapshot) -> Delivery {
    let Webhook { url, form } = task.webhook.clone().unwrap();
    let finished_at = end.finished_at.unwrap();
    let content = Content::Task(Box::new(TaskEnd {
        task_id: task.id,
        form,
        outcome: end.outcome.clone().unwrap(),
        metadata: task.metadata.clone(),
        submitted_at: end.submitted_at,
        started_at: end.started_at,
        finished_at,
    }));
    let (id, tenant) = (task.id.into(), task.tenant.clone());
    Delivery { id, tenant, url, number: 1, since: finished_at, content }
}

async fn racing_outcomes_make_one_delivery(on: Fixture) {
    let (gateway, worker) = (on.another(), Arc::clone(&on.broker));
    for _ in 0..40 {
        let task = with_webhook(task());
        gateway.submit(&task, NO_LIMIT).await.unwrap();
        let work = async {
            if let Some(held) = worker.claim(&claimant(LONG), NO_WAIT).await.unwrap() {
                worker.finish(&held.lease, &completed("x")).await.unwrap();
            }
        };
        let ((), cancelled) = tokio::join!(work, gateway.cancel(task.id));
        cancelled.unwrap();
        let end = gateway.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(taken(&*worker, LONG).await, expected(&task, &end));
        assert!(none_is_due(&*gateway).await);
    }
}

async fn retried_attempt_makes_no_delivery(on: Fixture) {
    let broker = &*on.broker;
    let task = with_webhook(task());
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let held = claimed(broker, &claimant(LONG)).await;
    broker.release(&held.lease, &failed_release("hiccup")).await.unwrap();
    assert!(none_is_due(broker).await);
    assert_eq!(report_of(broker, task.id).await.state, WebhookState::Waiting);
    End::Completed.come(broker, &task).await;
    assert_eq!(outcome(&taken(broker, LONG).await), &completed("the \"answer\" 🦀"));
}

async fn a_task_without_a_webhook_makes_no_delivery(on: Fixture) {
    let broker = &*on.broker;
    let task = submitted(broker).await;
    assert_eq!(broker.webhook(task.id.into()).await.unwrap(), None);
    End::Completed.come(broker, &task).await;
    assert!(none_is_due(broker).await);
    for id in [task.id.into(), WebhookId::new()] {
        broker.webhook_tried(id, &tried(1), Verdict::Delivered).await.unwrap();
        assert_eq!(broker.webhook(id).await.unwrap(), None);
    }
}

async fn deliverers_never_share_a_delivery(on: Fixture) {
    const TASKS: usize = 40;
    for _ in 0..TASKS {
        ended(&*on.broker).await;
    }
    let mut deliverers = Vec::new();
    for _ in 0..4 {
        let broker = on.another();
        deliverers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let some = broker.due_webhooks(LONG, 3).await.unwrap();
                assert!(some.len() <= 3);
                if some.is_empty() {
                    return taken;
                }
                taken.extend(some.into_iter().map(|delivery| delivery.id));
            }
        }));
    }
    let mut all = Vec::new();
    for deliverer in deliverers {
        all.extend(deliverer.await.unwrap());
    }
    assert_eq!(all.len(), TASKS);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), TASKS);
}

async fn deliveries_are_taken_in_order_of_due_time(on: Fixture) {
    let broker = &*on.broker;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(WebhookId::from(ended(broker).await.id));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut taken = Vec::new();
    for _ in 0..3 {
        let [one] = broker.due_webhooks(LONG, 1).await.unwrap().try_into().unwrap();
        taken.push(one.id);
    }
    assert_eq!(taken, order);
}

async fn a_delivery_is_due_again_when_its_deliverer_dies(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    assert_eq!(taken(broker, SPAN).await.number, 1);
    assert!(none_is_due(broker).await, "somebody has it");
    tokio::time::sleep(SPAN + Duration::from_millis(50)).await;
    let again = taken(broker, LONG).await;
    assert_eq!((again.id, again.number), (task.id.into(), 2));
    let report = report_of(broker, task.id).await;
    assert_eq!((report.state, numbers(&report)), (WebhookState::Pending, vec![]));
}

async fn late_try_counts_if_no_other_deliverer_took_over(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    taken(broker, Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::Delivered).await.unwrap();
    assert!(none_is_due(broker).await);
    assert_eq!(report_of(broker, task.id).await.state, WebhookState::Delivered);
}

async fn a_late_try_of_an_old_number_changes_nothing(on: Fixture) {
    let broker = &*on.broker;
    for late in [Verdict::Delivered, Verdict::GivenUp, Verdict::Again(NO_WAIT)] {
        let task = ended(broker).await;
        taken(broker, SPAN).await;
        tokio::time::sleep(SPAN + Duration::from_millis(50)).await;
        assert_eq!(taken(broker, LONG).await.number, 2);
        broker.webhook_tried(task.id.into(), &tried(1), late).await.unwrap();
        let report = report_of(broker, task.id).await;
        assert_eq!(
            (report.state, numbers(&report)),
            (WebhookState::Pending, vec![1]),
            "{late:?} is noted"
        );
        assert!(none_is_due(broker).await, "{late:?} takes nothing from the one who has it");
        broker.webhook_tried(task.id.into(), &tried(2), Verdict::Delivered).await.unwrap();
        let report = report_of(broker, task.id).await;
        assert_eq!((report.state, numbers(&report)), (WebhookState::Delivered, vec![1, 2]));
    }
}

async fn try_reported_after_delivery_changes_nothing(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    taken(broker, Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    taken(broker, LONG).await;
    broker.webhook_tried(task.id.into(), &tried(2), Verdict::Delivered).await.unwrap();
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::Again(NO_WAIT)).await.unwrap();
    assert!(none_is_due(broker).await);
    let report = report_of(broker, task.id).await;
    assert_eq!((report.state, numbers(&report)), (WebhookState::Delivered, vec![1, 2]));
}

async fn try_reported_twice_counts_once(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    taken(broker, LONG).await;
    for _ in 0..2 {
        broker.webhook_tried(task.id.into(), &tried(1), Verdict::Again(NO_WAIT)).await.unwrap();
    }
    assert_eq!(taken(broker, LONG).await.number, 2);
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::Again(NO_WAIT)).await.unwrap();
    assert!(none_is_due(broker).await, "its reply was lost for long");
    assert_eq!(numbers(&report_of(broker, task.id).await), [1]);
}

async fn delivery_waits_between_tries(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    taken(broker, LONG).await;
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::Again(SPAN)).await.unwrap();
    let now = broker.overview().await.unwrap().at;
    let report = report_of(broker, task.id).await;
    assert_eq!((report.state, numbers(&report)), (WebhookState::Pending, vec![1]));
    let rest = report.next_at.unwrap().seconds_since(now);
    assert!((0.1..=SPAN.as_secs_f64()).contains(&rest), "{rest} s");
    assert!(none_is_due(broker).await);
    tokio::time::sleep(SPAN + Duration::from_millis(50)).await;
    assert_eq!(taken(broker, LONG).await.number, 2);
}

async fn given_up_delivery_is_not_retried(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    taken(broker, Duration::from_millis(1)).await;
    broker.webhook_tried(task.id.into(), &failed_try(1), Verdict::GivenUp).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(none_is_due(broker).await);
    let report = report_of(broker, task.id).await;
    assert_eq!((report.state, report.next_at), (WebhookState::GivenUp, None));
    assert_eq!(report.tries, [failed_try(1)]);
}

fn failed_try(number: u32) -> queue::Tried {
    let result = TryResult::Error("no \"connection\"\n in time 🦀".into());
    queue::Tried { result, ..tried(number) }
}

async fn a_report_keeps_the_latest_tries(on: Fixture) {
    let broker = &*on.broker;
    let task = ended(broker).await;
    let last = MAX_TRIES_KEPT as u32 + 4;
    for number in 1..=last {
        assert_eq!(taken(broker, LONG).await.number, number);
        let (said, verdict) = (failed_try(number), Verdict::Again(NO_WAIT));
        broker.webhook_tried(task.id.into(), &said, verdict).await.unwrap();
    }
    assert_eq!(numbers(&report_of(broker, task.id).await), (5..=last).collect::<Vec<_>>());
}

async fn a_delivery_outlives_the_outcome(on: Fixture) {
    let broker = &*on.broker;
    let task = with_webhook(Task { result_ttl_s: 1, ..task() });
    End::Completed.submit(broker, task.clone()).await;
    End::Completed.come(broker, &task).await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    broker.reap(&claimant(SHORT)).await.unwrap();
    assert_eq!(broker.snapshot(task.id).await.unwrap(), None);
    assert_eq!(report_of(broker, task.id).await.state, WebhookState::Pending);
    let delivery = taken(broker, LONG).await;
    assert_eq!(delivery.task().unwrap().metadata, task.metadata);
    assert_eq!(outcome(&delivery), &completed("the \"answer\" 🦀"));
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::Delivered).await.unwrap();
    broker.reap(&claimant(SHORT)).await.unwrap();
    assert_eq!(report_of(broker, task.id).await.state, WebhookState::Delivered);
}

async fn a_webhook_keeps_its_form(on: Fixture) {
    let broker = &*on.broker;
    for form in [WebhookForm::Response, WebhookForm::Job, WebhookForm::Prediction] {
        let webhook = Webhook { url: "https://x.test/".into(), form };
        let task = Task { webhook: Some(webhook), ..task() };
        End::Completed.submit(broker, task.clone()).await;
        End::Completed.come(broker, &task).await;
        assert_eq!(taken(broker, LONG).await.task().unwrap().form, form);
    }
}

/// Returns a message that belongs to no task.
fn notice() -> Notice {
    Notice {
        id: WebhookId::new(),
        tenant: TenantId::new("tenant"),
        url: "https://x.test/hook".into(),
        body: r#"{"type": "batch.completed", "of": "\"😀\""}"#.into(),
    }
}

async fn a_notice_is_delivered_as_it_was_made(on: Fixture) {
    let broker = &*on.broker;
    let notice = notice();
    assert_eq!(broker.webhook(notice.id).await.unwrap(), None);
    let before = broker.overview().await.unwrap().at;
    on.another().notify(&notice).await.unwrap();
    let report = report_of(broker, notice.id).await;
    assert_eq!((report.state, &report.tenant), (WebhookState::Pending, &notice.tenant));
    assert_eq!(broker.overview().await.unwrap().webhooks_pending, 1);

    let first = taken(broker, LONG).await;
    assert!(first.since >= before && report.next_at == Some(first.since), "{first:?}");
    let content = Content::Notice(notice.body.clone());
    let (id, tenant, url) = (notice.id, notice.tenant.clone(), notice.url.clone());
    let expected = Delivery { id, tenant, url, number: 1, since: first.since, content };
    assert_eq!(first, expected);
    broker.webhook_tried(id, &failed_try(1), Verdict::Again(NO_WAIT)).await.unwrap();
    assert_eq!(taken(broker, LONG).await, Delivery { number: 2, ..expected });
    broker.webhook_tried(id, &tried(2), Verdict::Delivered).await.unwrap();
    assert!(none_is_due(broker).await);
    let report = report_of(broker, id).await;
    assert_eq!(
        (report.state, report.url, report.next_at),
        (WebhookState::Delivered, notice.url, None)
    );
    assert_eq!(broker.overview().await.unwrap().webhooks_pending, 0);
}

async fn a_notice_made_twice_is_delivered_once(on: Fixture) {
    let broker = &*on.broker;
    let notice = notice();
    let other = Notice { body: "another".into(), ..notice.clone() };
    broker.notify(&notice).await.unwrap();
    broker.notify(&other).await.unwrap();
    assert_eq!(taken(broker, LONG).await.content, Content::Notice(notice.body.clone()));
    broker.notify(&notice).await.unwrap();
    assert!(none_is_due(broker).await, "somebody has it");
    broker.webhook_tried(notice.id, &tried(1), Verdict::Delivered).await.unwrap();
    broker.notify(&notice).await.unwrap();
    assert!(none_is_due(broker).await, "it was delivered");
}

run_on_every_broker! {
    every_outcome_makes_exactly_one_delivery,
    racing_outcomes_make_one_delivery,
    retried_attempt_makes_no_delivery,
    a_task_without_a_webhook_makes_no_delivery,
    deliverers_never_share_a_delivery,
    deliveries_are_taken_in_order_of_due_time,
    a_delivery_is_due_again_when_its_deliverer_dies,
    late_try_counts_if_no_other_deliverer_took_over,
    a_late_try_of_an_old_number_changes_nothing,
    try_reported_after_delivery_changes_nothing,
    try_reported_twice_counts_once,
    delivery_waits_between_tries,
    given_up_delivery_is_not_retried,
    a_report_keeps_the_latest_tries,
    a_delivery_outlives_the_outcome,
    a_webhook_keeps_its_form,
    a_notice_is_delivered_as_it_was_made,
    a_notice_made_twice_is_delivered_once,
}
