//! Tests the queueing options of a task, and its reported position in the queue.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Estimate, Eta, Lane, ModelId, TaskState, Timestamp};
use queue::{Bound, Bounds, BrokerError, Matches, Start, SubmitOptions, Submitted};
use serde_json::{Value, json};

use crate::faulty_broker::{FaultyBroker, Record};
use crate::rig::{Rig, answer, task_id};

/// Creates a rig whose broker records its calls.
fn recorded() -> (Rig, Arc<Record>) {
    let record = Arc::new(Record::default());
    let rig = Rig::on(
        |broker| FaultyBroker::recording(broker, &record),
        |options| {
            (options.task_time_limit_s, options.result_ttl_s) = (100, 1000);
            options.max_attempts = 6;
            options.max_queue_size = 7;
            (options.max_tenant_tasks, options.max_queue_bytes) = (5, 1 << 20);
        },
    );
    (rig, record)
}

fn with(fields: &Value) -> Value {
    let mut body = json!({"prompt": "Why?"});
    body.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    body
}

fn last(record: &Record) -> SubmitOptions {
    record.submits.lock().unwrap().last().unwrap().clone()
}

#[test]
fn submit_options_reach_the_queue() {
    let (rig, record) = recorded();
    let body = with(&json!({
        "priority": "high", "metadata": {"order": "17"}, "result_ttl_s": 60, "time_limit_s": 9,
        "expires_in_s": 30, "max_attempts": 5, "retry_backoff_s": 90,
    }));
    let reply = rig.client().post("/generate", &body);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(last(&record).expires_in, Some(Duration::from_secs(30)));
    assert_eq!((last(&record).start, last(&record).idempotency), (Start::Now, None));
    assert_eq!(last(&record).bounds, Bounds { model: 7, tenant: 5, bytes: 1 << 20 });
    let status = rig.client().get(&format!("/status/{}", task_id(&reply.json()))).json();
    assert_eq!(status["metadata"], json!({"order": "17"}));
    let task = rig.claim().task;
    assert_eq!(task.lane, Lane::High);
    assert_eq!((task.result_ttl_s, task.time_limit_s), (60, 9));
    assert_eq!((task.max_attempts, task.retry_backoff_s), (5, Some(90)));
    assert_eq!(task.metadata, [("order".to_owned(), "17".to_owned())].into());

    for (fields, start) in [
        (json!({"delay_s": 2.5}), Start::After(Duration::from_millis(2500))),
        (json!({"run_at": "2020-01-01T00:00:01Z"}), {
            Start::At(Timestamp::from_millis(1_577_836_801_000))
        }),
    ] {
        assert_eq!(rig.client().post("/generate", &with(&fields)).status, 202);
        assert_eq!(last(&record).start, start);
    }
}

#[test]
fn operators_limits_are_enforced() {
    let (rig, _) = recorded();
    for (name, value, allowed) in [
        ("time_limit_s", 101, "from 1 to 100"),
        ("result_ttl_s", 1001, "from 1 to 1000"),
        ("max_attempts", 7, "from 1 to 6"),
        ("retry_backoff_s", 3601, "from 0 to 3600"),
    ] {
        let problem = rig.client().post("/generate", &with(&json!({ name: value }))).problem();
        assert_eq!(problem["loc"], json!(["body", name]));
        assert!(problem["msg"].as_str().unwrap().contains(allowed), "{problem}");
    }
    assert_eq!(rig.client().post("/generate", &with(&json!({}))).status, 202);
    let task = rig.claim().task;
    assert_eq!((task.max_attempts, task.retry_backoff_s), (6, None), "the operator's");
    let document = rig.client_with(None).get("/openapi.json").json();
    let fields = &document["components"]["schemas"]["GenerateBody"]["properties"];
    assert_eq!(fields["time_limit_s"]["maximum"], 100);
    assert_eq!(fields["max_attempts"]["maximum"], 6);
    assert_eq!(fields["retry_backoff_s"]["maximum"], 3600);
    assert_eq!(fields["priority"]["enum"], json!(["high", "normal", "low", "batch"]));
}

#[test]
fn idempotency_key_maps_repeated_requests_to_one_task() {
    let (rig, record) = recorded();
    let client = rig.client().with("idempotency-key", "order-17");
    let first = client.post("/generate", &with(&json!({"seed": 1})));
    let asked = last(&record).idempotency.unwrap();
    assert_eq!((asked.key.as_str(), asked.matches), ("key:order-17", Matches::Always));
    assert_eq!(first.header("idempotent-replayed"), None);

    // The broker recognizes the submit as a repetition.
    let id = task_id(&first.json());
    rig.finish(&rig.claim(), &answer("Because."));
    let known = Submitted {
        task_id: id,
        created: false,
        state: TaskState::Completed,
        at: Timestamp::now(),
        depth: 1,
        readings: Vec::new(),
        estimate: None,
    };
    *record.reply.lock().unwrap() = Some(Ok(known.clone()));
    let again = client.post("/generate", &with(&json!({"seed": 1})));
    assert_eq!(last(&record).idempotency.unwrap(), asked, "the same request looks the same");
    assert_eq!((again.status, task_id(&again.json())), (202, id));
    assert_eq!(again.json()["status"], "completed");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    *record.reply.lock().unwrap() = Some(Ok(known.clone()));
    let waiting = client.clone().with("prefer", "wait=30").post("/generate", &with(&json!({})));
    assert_eq!((waiting.status, &waiting.json()["result"]), (200, &json!("Because.")));
    assert_ne!(last(&record).idempotency.unwrap().body_hash, asked.body_hash);

    *record.reply.lock().unwrap() = Some(Err(BrokerError::KeyReused { task_id: id }));
    let problem = client.post("/generate", &with(&json!({"seed": 2}))).problem();
    assert_eq!(problem["type"], "idempotency_key_reused");

    for bad in ["a b", &"k".repeat(256), ""] {
        let client = rig.client().with("idempotency-key", bad);
        let problem = client.post("/generate", &with(&json!({}))).problem();
        assert_eq!(problem["loc"], json!(["header", "Idempotency-Key"]), "{bad}");
    }
}

#[test]
fn retry_count_header_marks_a_retry() {
    let (rig, record) = recorded();
    let tries = |n: &str| {
        let client = rig.client().with("x-stainless-retry-count", n);
        assert_eq!(client.post("/generate", &with(&json!({}))).status, 202);
        last(&record).idempotency.unwrap()
    };
    let (first, second) = (tries("0"), tries("1"));
    assert_eq!(first.key, second.key);
    assert_eq!(first.matches, Matches::Never);
    assert!(matches!(second.matches, Matches::Within(_)));
}

#[test]
fn position_and_eta_are_returned_while_a_task_is_queued() {
    let (rig, record) = recorded();
    let eta = Some(Eta { earliest_s: 4.25, latest_s: 11.04 });
    let estimate = Some(Estimate { position: 3, eta });
    let id = rig.submit("Why?");
    let told = |path: &str| {
        let body = rig.client().get(&format!("/{path}/{id}")).json();
        (body["queue_position"].clone(), body["eta_seconds"].clone())
    };
    *record.estimate.lock().unwrap() = estimate;
    let expected = (json!(3), json!({"low": 4.3, "high": 11.0}));
    assert_eq!(told("status"), expected);
    assert_eq!(told("result"), expected);

    *record.reply.lock().unwrap() = Some(Ok(Submitted {
        task_id: id,
        created: true,
        state: TaskState::Queued,
        at: Timestamp::now(),
        depth: 3,
        readings: Vec::new(),
        estimate: Some(Estimate { position: 3, eta: None }),
    }));
    let body = rig.client().post("/generate", &with(&json!({}))).json();
    assert_eq!((&body["queue_position"], &body["eta_seconds"]), (&json!(3), &Value::Null));

    rig.claim();
    assert_eq!(told("status"), (Value::Null, Value::Null), "who runs has no place");
}

#[test]
fn each_queue_bound_has_its_own_response() {
    let (rig, record) = recorded();
    for (bound, code) in [
        (Bound::Model, "queue_full"),
        (Bound::Tenant, "tenant_queue_full"),
        (Bound::Bytes, "queue_memory_full"),
    ] {
        let (model, held, limit, retry_after_s) = (ModelId::new("demo"), 7, 7, 3);
        let full = BrokerError::QueueFull { bound, model, held, limit, retry_after_s };
        let message = full.to_string();
        *record.reply.lock().unwrap() = Some(Err(full));
        let reply = rig.client().post("/generate", &with(&json!({})));
        assert_eq!(reply.error(), (429, message));
        assert_eq!(reply.json()["code"], code);
        assert_eq!(reply.header("retry-after"), Some("3"));
    }
}
