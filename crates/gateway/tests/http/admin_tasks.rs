//! Tests the operators' search for tasks, and cancelling what it finds.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{ErrorType, Outcome, TaskError, TaskId};
use queue::Release;
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{OTHER_KEY, Rig, answer, task_id};

fn list(rig: &Rig, query: &str) -> Value {
    let reply = rig.admin().get(&format!("/admin/tasks{query}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn ids(page: &Value) -> Vec<TaskId> {
    let tasks = page["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["task_id"].as_str().unwrap().parse().unwrap()).collect()
}

fn cancel(rig: &Rig, body: &Value) -> Value {
    let reply = rig.admin().post("/admin/tasks/cancel", body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn submit(client: &Client, body: &Value) -> TaskId {
    let reply = client.post("/generate", body);
    assert_eq!(reply.status, 202, "{reply:?}");
    task_id(&reply.json())
}

#[test]
fn tasks_of_every_state_are_listed_without_their_texts() {
    let rig = Rig::operated();
    let done = rig.submit("A secret prompt");
    rig.finish(&rig.claim(), &answer("A secret answer"));
    let failed = rig.submit("Too much");
    let error = TaskError::new(ErrorType::OutOfMemory, "no memory");
    rig.finish(&rig.claim(), &Outcome::Failed(error));
    let cancelled = rig.submit("Never mind");
    rig.client().send("POST", &format!("/cancel/{cancelled}"), None);
    let running =
        submit(&rig.client(), &json!({"prompt": "Now", "user_id": "u-1", "priority": "high"}));
    let held = rig.claim();
    let later = submit(&rig.client(), &json!({"prompt": "Later", "delay_s": 600}));
    let queued = rig.submit("Soon");

    let page = list(&rig, "");
    assert_eq!(ids(&page), [queued, later, running, cancelled, failed, done]);
    assert_eq!(page["next_cursor"], Value::Null);
    assert!(!page.to_string().contains("secret"), "{page}");
    let status = |task: &Value| task["status"].as_str().unwrap().to_owned();
    let tasks = page["tasks"].as_array().unwrap();
    let states: Vec<_> = tasks.iter().map(status).collect();
    assert_eq!(states, ["queued", "delayed", "processing", "cancelled", "failed", "completed"]);
    for (state, id) in states.iter().zip(ids(&page)) {
        assert_eq!(ids(&list(&rig, &format!("?state={state}"))), [id], "{state}");
        assert_eq!(ids(&list(&rig, &format!("?model=demo&state={state}"))), [id], "{state}");
    }
    assert_eq!(ids(&list(&rig, "?state=failed,%20completed")), [failed, done]);

    let found = &tasks[2];
    assert_eq!(found["worker"], json!(held.lease.worker));
    assert_eq!(
        (&found["attempt"], &found["lane"], &found["user_id"]),
        (&json!(1), &json!("high"), &json!("u-1"))
    );
    assert_eq!(found["tenant"], json!(held.task.tenant));
    assert_eq!(found["started_at"], json!(held.started_at));
    assert_eq!((&found["ended_at"], found.get("processing_time")), (&Value::Null, None));
    let (failed, done) = (&tasks[4], &tasks[5]);
    assert_eq!(failed["error_type"], "out_of_memory");
    assert!(failed.get("run_at").is_none() && tasks[1]["run_at"].is_u64());
    assert!(done["processing_time"].is_f64() && done["queue_wait_time"].is_f64(), "{done}");
    assert!(done["ended_at"].as_u64() >= done["started_at"].as_u64(), "{done}");
    let waiting = json!({
        "task_id": queued, "status": "queued", "model": "demo", "lane": "normal",
        "tenant": held.task.tenant, "user_id": null, "submitted_at": tasks[0]["submitted_at"],
        "started_at": null, "ended_at": null, "attempt": 0,
    });
    assert_eq!(tasks[0], waiting);
}

#[test]
fn tasks_are_found_by_owner_lane_notes_and_age() {
    let rig = Rig::operated();
    let (mine, theirs) = (rig.client(), rig.client_with(Some(OTHER_KEY)));
    let noted = submit(&mine, &json!({"prompt": "a", "metadata": {"order": "7=8", "x": "y"}}));
    let batch = submit(&theirs, &json!({"prompt": "b", "priority": "batch", "user_id": "u 2"}));
    let page = list(&rig, "");
    let owner = |number: usize| page["tasks"][number]["tenant"].as_str().unwrap();
    assert_eq!(ids(&list(&rig, &format!("?tenant={}", owner(0)))), [batch]);
    assert_eq!(ids(&list(&rig, &format!("?tenant={}", owner(1)))), [noted]);
    assert_eq!(ids(&list(&rig, "?lane=batch")), [batch]);
    assert_eq!(ids(&list(&rig, "?user_id=u%202")), [batch]);
    assert_eq!(ids(&list(&rig, "?metadata=order%3D7%3D8&metadata=x=y")), [noted]);
    assert_eq!(ids(&list(&rig, "?metadata=order=7")), []);
    assert_eq!(ids(&list(&rig, "?older_than=0&newer_than=600&limit=500")), [batch, noted]);
    assert_eq!(ids(&list(&rig, "?older_than=600")), []);
    assert_eq!(ids(&list(&rig, "?model=other")), []);
}

#[test]
fn tasks_are_paged_by_a_cursor() {
    let rig = Rig::operated();
    let mut tasks: Vec<TaskId> = (0..5).map(|number| rig.submit(&number.to_string())).collect();
    tasks.reverse();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    for _ in 0..5 {
        let page = list(&rig, &query);
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
        rig.submit("meanwhile");
        rig.claim();
    }
    assert_eq!(seen, tasks, "newest first, each once, however tasks move");
}

#[test]
fn wrong_searches_are_refused() {
    let rig = Rig::operated();
    for (query, name) in [
        ("?state=running", "state"),
        ("?lane=fast", "lane"),
        ("?limit=0", "limit"),
        ("?limit=501", "limit"),
        ("?older_than=1h", "older_than"),
        ("?older_than=-5", "older_than"),
        ("?metadata=order", "metadata"),
        ("?cursor=x", "cursor"),
        ("?status=queued", "status"),
    ] {
        let problem = rig.admin().get(&format!("/admin/tasks{query}")).problem();
        assert_eq!(problem["loc"], json!(["query", name]), "{problem}");
    }
    for (body, name) in [
        (json!({}), "all"),
        (json!({"dry_run": false}), "all"),
        (json!({"state": "processing"}), "state"),
        (json!({"model": 7}), "model"),
        (json!({"model": "demo", "limit": 1_001}), "limit"),
        (json!({"model": "demo", "cursor": "x"}), "cursor"),
        (json!({"modell": "demo", "all": true}), "modell"),
    ] {
        let reply = rig.admin().post("/admin/tasks/cancel", &body);
        let problems = reply.json()["detail"].clone();
        assert_eq!(reply.status, 422, "{reply:?}");
        let found =
            problems.as_array().unwrap().iter().find(|one| one["loc"] == json!(["body", name]));
        assert!(found.is_some(), "{problems}");
    }
    assert_eq!(rig.client().get("/admin/tasks").status, 403);
    assert_eq!(
        rig.client_with(None).post("/admin/tasks/cancel", &json!({"all": true})).status,
        401
    );
}

#[test]
fn queued_tasks_are_counted_and_then_cancelled() {
    let rig = Rig::operated();
    let running = rig.submit("Now");
    let held = rig.claim();
    let delayed = submit(&rig.client(), &json!({"prompt": "Later", "delay_s": 600}));
    let queued: Vec<TaskId> = (0..23).map(|number| rig.submit(&number.to_string())).collect();
    let low = submit(&rig.client(), &json!({"prompt": "Low", "priority": "low"}));

    let counted = cancel(&rig, &json!({"lane": "normal"}));
    assert_eq!((&counted["dry_run"], &counted["matched"]), (&json!(true), &json!(24)));
    assert_eq!((&counted["cancelled"], &counted["next_cursor"]), (&json!(0), &Value::Null));
    let shown = counted["task_ids"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[0]), (20, &json!(queued[22])), "the first");
    assert_eq!(ids(&list(&rig, "?state=cancelled")), [], "nothing was cancelled");

    let first = cancel(&rig, &json!({"lane": "normal", "limit": 3, "dry_run": false}));
    assert_eq!((&first["matched"], &first["cancelled"]), (&json!(3), &json!(3)));
    let body = json!({"lane": "normal", "cursor": first["next_cursor"], "dry_run": false});
    let rest = cancel(&rig, &body);
    assert_eq!((&rest["cancelled"], &rest["next_cursor"]), (&json!(21), &Value::Null));
    let cancelled: BTreeSet<_> =
        ids(&list(&rig, "?state=cancelled&limit=100")).into_iter().collect();
    assert_eq!(cancelled, queued.iter().copied().chain([delayed]).collect());
    assert_eq!(rig.client().get(&format!("/result/{delayed}")).json()["status"], "cancelled");

    let all = cancel(&rig, &json!({"all": true, "dry_run": false}));
    assert_eq!((&all["matched"], &all["task_ids"]), (&json!(1), &json!([low])));
    rig.finish(&held, &answer("Done."));
    assert_eq!(rig.client().get(&format!("/result/{running}")).json()["status"], "completed");
}

#[test]
fn a_task_in_backoff_is_cancelled_as_delayed() {
    let rig = Rig::operated();
    let id = rig.submit("Again");
    let held = rig.claim();
    let error = TaskError::new(ErrorType::OutOfMemory, "no memory");
    let release = Release::Failed { error, retry_in: Duration::from_secs(60) };
    rig.wait(rig.broker.release(&held.lease, &release)).unwrap();
    let none = cancel(&rig, &json!({"state": "queued", "dry_run": false}));
    assert_eq!(none["matched"], 0);
    let done = cancel(&rig, &json!({"state": "delayed", "older_than": 0, "dry_run": false}));
    assert_eq!(done["task_ids"], json!([id]));
}
