//! Tests periodic tasks and the operators' routes for them.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway::Options;
use gateway::periodic::check;
use gateway::timetable::Timetable;
use harness::wait_for;
use protocol::{TaskId, TaskSnapshot};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::rig::{ADMIN_KEY, KEY, OTHER_KEY, Rig, answer};

const SOON: Duration = Duration::from_secs(20);

fn timetable(text: &str, options: &Options) -> Timetable {
    check(text, options).unwrap()
}

/// Starts a gateway with this schedule.
fn scheduled(text: &str, edit: impl FnOnce(&mut Options)) -> Rig {
    Rig::with(|options| {
        options.admin_key = Some(ADMIN_KEY.into());
        options.schedule = timetable(text, options);
        edit(options);
    })
}

/// Returns what the operators see of a periodic task.
fn periodic(rig: &Rig, name: &str) -> Value {
    let reply = rig.admin().get("/admin/schedule");
    assert_eq!(reply.status, 200, "{reply:?}");
    let reply = reply.json();
    assert_eq!(reply["configured"], true);
    let tasks = reply["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["name"] == name).unwrap().clone()
}

/// Returns the ids of a periodic task's tasks.
fn tasks_of(rig: &Rig, name: &str) -> Vec<TaskId> {
    let reply = rig.admin().get(&format!("/admin/tasks?metadata=schedule={name}&limit=500"));
    let reply = reply.json();
    let tasks = reply["tasks"].as_array().unwrap().iter();
    tasks.map(|task| task["task_id"].as_str().unwrap().parse().unwrap()).collect()
}

fn snapshot(rig: &Rig, id: TaskId) -> TaskSnapshot {
    rig.wait(rig.broker.snapshot(id)).unwrap().unwrap()
}

fn occurrence(rig: &Rig, id: TaskId) -> String {
    snapshot(rig, id).task.metadata["occurrence"].clone()
}

const EVERY_SECOND: &str = r#"
[[task]]
name = "tick"
cron = "* * * * * *"
owner = "acme"
request = { prompt = "What time is it?", priority = "low", metadata = { department = "clocks" } }
"#;

#[test]
fn due_tasks_are_submitted_once_for_each_occurrence() {
    let rig = scheduled(EVERY_SECOND, |_| {});
    let ids =
        wait_for("three runs", SOON, || Some(tasks_of(&rig, "tick")).filter(|ids| ids.len() >= 3));
    let occurrences: BTreeSet<_> = ids.iter().map(|id| occurrence(&rig, *id)).collect();
    assert_eq!(occurrences.len(), ids.len(), "each once: {occurrences:?}");
    let task = snapshot(&rig, ids[0]).task;
    assert_eq!((task.tenant.as_str(), task.lane.as_str()), ("acme", "low"));
    assert_eq!(task.metadata["department"], "clocks");
    let shown = periodic(&rig, "tick");
    assert!(shown["runs"].as_u64() >= Some(3) && shown["skipped"] == 0, "{shown}");
    assert_eq!(
        (&shown["last"]["status"], &shown["last"]["manual"]),
        (&json!("queued"), &json!(false))
    );
    assert_eq!(
        (&shown["owner"], &shown["key"], &shown["problem"]),
        (&json!("acme"), &Value::Null, &Value::Null)
    );
    assert!(shown["next_at"].as_u64() > shown["last"]["occurrence"].as_u64(), "{shown}");
}

#[test]
fn operators_run_a_task_now_even_if_it_is_disabled() {
    let text = EVERY_SECOND.replace("owner", "enabled = false\nowner");
    let rig = scheduled(&text, |_| {});
    let reply = rig.admin().post("/admin/schedule/tick/run", &json!({}));
    assert_eq!(reply.status, 202, "{reply:?}");
    let id: TaskId = reply.json()["task_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(occurrence(&rig, id), "manual");
    assert_eq!(tasks_of(&rig, "tick"), [id]);
    let shown = periodic(&rig, "tick");
    assert_eq!((&shown["enabled"], &shown["next_at"]), (&json!(false), &Value::Null));
    assert_eq!((&shown["last"]["task_id"], &shown["last"]["manual"]), (&json!(id), &json!(true)));
    rig.finish(&rig.claim(), &answer("noon"));
    assert_eq!(periodic(&rig, "tick")["last"]["status"], "completed");

    let unknown = rig.admin().post("/admin/schedule/tock/run", &json!({}));
    assert_eq!(unknown.status, 404);
    assert!(unknown.text.contains("there are: tick"), "{}", unknown.text);
    for method in ["GET", "POST"] {
        let path = if method == "GET" { "/admin/schedule" } else { "/admin/schedule/tick/run" };
        assert_eq!(rig.client().send(method, path, None).status, 403);
    }
}

#[test]
fn refused_occurrence_is_tried_again() {
    let text = EVERY_SECOND.replace("owner", "missed = \"all\"\nowner");
    let rig = scheduled(&text, |options| options.max_queue_size = 1);
    let problem = wait_for("a full queue", SOON, || {
        periodic(&rig, "tick")["problem"].as_str().map(str::to_owned)
    });
    assert!(problem.contains("the queue of model 'demo' is full"), "{problem}");
    assert_eq!(tasks_of(&rig, "tick").len(), 1);
    rig.finish(&rig.claim(), &answer("noon"));
    let ids = wait_for("the next run", SOON, || {
        Some(tasks_of(&rig, "tick")).filter(|ids| ids.len() == 2)
    });
    let mut occurrences: Vec<_> = ids.iter().map(|id| occurrence(&rig, *id)).collect();
    occurrences.sort();
    let second = |text: &str| text[17..19].parse::<u32>().unwrap();
    let step = (second(&occurrences[1]) + 60 - second(&occurrences[0])) % 60;
    assert_eq!(step, 1, "the refused one was not left out: {occurrences:?}");
}

#[test]
fn the_limits_and_rights_of_a_key_hold() {
    let made = |rig: &Rig| {
        let body = json!({"name": "clock", "owner": "acme", "requests_per_minute": 1});
        rig.admin().post("/admin/keys", &body).json()["id"].as_str().unwrap().to_owned()
    };
    let (sender, receiver) = watch::channel(None);
    let file = tempfile::NamedTempFile::new().unwrap();
    let rig = scheduled("", |options| options.schedule_changes = Some(receiver));
    let key = made(&rig);
    let text = EVERY_SECOND.replace("owner = \"acme\"", &format!("key = \"{key}\""));
    std::fs::write(file.path(), text).unwrap();
    sender.send_replace(Some(file.path().to_owned()));
    let limited = wait_for("the limit", SOON, || {
        let reply = rig.admin().get("/admin/schedule").json();
        reply["tasks"][0]["problem"].as_str().map(str::to_owned)
    });
    assert!(limited.contains("1 requests per minute"), "{limited}");
    let shown = periodic(&rig, "tick");
    assert_eq!(
        (&shown["runs"], &shown["owner"], &shown["key"]),
        (&json!(1), &json!("acme"), &json!(key))
    );

    rig.admin().patch(&format!("/admin/keys/{key}"), &json!({"blocked": true}));
    wait_for("the blocked key", SOON, || {
        let shown = periodic(&rig, "tick");
        shown["problem"].as_str()?.contains("is blocked").then_some(())
    });
    let refused = rig.admin().post("/admin/schedule/tick/run", &json!({}));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text.contains(&format!("The key {key} is blocked")), "{}", refused.text);
}

#[test]
fn reload_replaces_the_schedule_or_keeps_the_one_before() {
    let (sender, receiver) = watch::channel(None);
    let file = tempfile::NamedTempFile::new().unwrap();
    let read_again = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        sender.send_replace(Some(file.path().to_owned()));
    };
    let rig = scheduled(EVERY_SECOND, |options| options.schedule_changes = Some(receiver));
    let names = || {
        let reply = rig.admin().get("/admin/schedule").json();
        let tasks = reply["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_for("a run", SOON, || (!tasks_of(&rig, "tick").is_empty()).then_some(()));
    read_again("[[task]]\nname = 'broken'\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(names(), ["tick"]);

    read_again(&EVERY_SECOND.replace("tick", "tock"));
    wait_for("the new schedule", SOON, || (names() == ["tock"]).then_some(()));
    wait_for("a run of the new one", SOON, || (!tasks_of(&rig, "tock").is_empty()).then_some(()));
    let states = || rig.wait(rig.broker.periodic_tasks()).unwrap().1;
    let kept: Vec<_> = states().into_iter().map(|stored| stored.id.name).collect();
    assert_eq!(kept, ["tock"], "the state of the removed one is forgotten");
    let before = tasks_of(&rig, "tick").len();
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(tasks_of(&rig, "tick").len(), before);
}

#[test]
fn configured_key_is_named_by_its_id() {
    let rig = scheduled("", |_| {});
    let owner = snapshot(&rig, rig.submit("who am I?")).task.tenant;
    let id = owner.as_str().replacen("key-", "env_", 1);
    drop(rig);
    let rig =
        scheduled(&EVERY_SECOND.replace("owner = \"acme\"", &format!("key = \"{id}\"")), |_| {});
    let id = wait_for("a run", SOON, || tasks_of(&rig, "tick").first().copied());
    assert_eq!(rig.client_with(Some(KEY)).get(&format!("/status/{id}")).status, 200);
    assert_eq!(rig.client_with(Some(OTHER_KEY)).get(&format!("/status/{id}")).status, 404);
}
