//! Tests listing, requeueing and deleting dead letters.

use std::time::Duration;

use protocol::{ErrorType, Outcome, TaskError, TaskId};
use serde_json::{Value, json};

use crate::rig::{Rig, answer};

/// Creates a task that has failed twice and used up its attempts.
fn dead(rig: &Rig, prompt: &str) -> TaskId {
    let id = rig.submit(prompt);
    rig.fail(&rig.claim());
    let error = TaskError::new(ErrorType::OutOfMemory, "no memory, again");
    rig.finish(&rig.claim(), &Outcome::Failed(error));
    std::thread::sleep(Duration::from_millis(2)); // the next dies later, by the clock
    id
}

fn list(rig: &Rig, query: &str) -> Value {
    let reply = rig.admin().get(&format!("/admin/dead-letters{query}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn ids(page: &Value) -> Vec<TaskId> {
    let letters = page["dead_letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["task_id"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn dead_letter_shows_its_failures_and_task() {
    let rig = Rig::operated();
    let id = dead(&rig, "Too much");
    let page = list(&rig, "");
    assert_eq!((ids(&page), &page["next_before"]), (vec![id], &Value::Null));
    let mut letter = page["dead_letters"][0].clone();
    assert_eq!(
        (&letter["model"], &letter["error_type"], &letter["error_message"]),
        (&json!("demo"), &json!("out_of_memory"), &json!("no memory, again"))
    );
    let failures = letter["failures"].as_array().unwrap();
    let told: Vec<_> = failures.iter().map(|f| (&f["attempt"], &f["error_message"])).collect();
    assert_eq!(told, [(&json!(1), &json!("no memory")), (&json!(2), &json!("no memory, again"))]);
    assert!(letter["died_at"].as_u64() >= failures[1]["at"].as_u64(), "{letter}");
    assert!(letter.get("task").is_none(), "prompts are long");

    let whole = rig.admin().get(&format!("/admin/dead-letters/{id}")).json();
    assert!(whole["task"].to_string().contains("Too much"), "{whole}");
    letter["task"] = whole["task"].clone();
    assert_eq!(whole, letter);
    assert_eq!(rig.admin().get("/admin/overview").json()["dead_letters"], 1);
}

#[test]
fn dead_letters_are_paged() {
    let rig = Rig::operated();
    let mut died: Vec<TaskId> = (0..5).map(|n| dead(&rig, &n.to_string())).collect();
    died.reverse();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    for _ in 0..5 {
        let page = list(&rig, &query);
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        let Some(before) = page["next_before"].as_u64() else { break };
        query = format!("?limit=2&before={before}");
    }
    assert_eq!(seen, died, "the latest first, none twice");
    assert_eq!(ids(&list(&rig, "?model=demo")).len(), 5);
    assert_eq!(ids(&list(&rig, "?model=other")), []);
    for (query, name) in [("?limit=0", "limit"), ("?limit=101", "limit"), ("?before=x", "before")] {
        let problem = rig.admin().get(&format!("/admin/dead-letters{query}")).problem();
        assert_eq!(problem["loc"], json!(["query", name]));
    }
}

#[test]
fn dead_letter_is_replayed_as_a_new_task() {
    let rig = Rig::operated();
    let id = dead(&rig, "Once more");
    let replay = || rig.admin().send("POST", &format!("/admin/dead-letters/{id}/replay"), None);
    let reply = replay();
    assert_eq!(reply.status, 202, "{reply:?}");
    let body = reply.json();
    let again: TaskId = body["task_id"].as_str().unwrap().parse().unwrap();
    assert_ne!(again, id);
    assert_eq!(body, json!({"task_id": again, "status": "queued", "replayed": id}));
    assert_eq!(replay().json()["task_id"], json!(again), "a lost reply is repeated");

    let claimed = rig.claim();
    assert_eq!(claimed.task.id, again);
    assert_eq!(claimed.task.prompt, protocol::Prompt::user("Once more"));
    rig.finish(&claimed, &answer("There."));
    let client = rig.client();
    assert_eq!(client.get(&format!("/result/{again}")).json()["result"], "There.");
    assert_eq!(client.get(&format!("/result/{id}")).json()["status"], "error", "as it was");
    assert_eq!(ids(&list(&rig, "")), []);
}

#[test]
fn dead_letters_are_deleted_only_by_id_model_or_all() {
    let rig = Rig::operated();
    let [first, second, third] = ["1", "2", "3"].map(|prompt| dead(&rig, prompt));
    let delete =
        |path: &str| rig.admin().send("DELETE", &format!("/admin/dead-letters{path}"), None);
    let problem = delete("").problem();
    assert_eq!(problem["loc"], json!(["query", "model"]));
    assert_eq!(delete("?all=yes").problem()["loc"], json!(["query", "all"]));
    assert_eq!(ids(&list(&rig, "")), [third, second, first], "nothing was deleted");

    assert_eq!(delete(&format!("/{second}")).json(), json!({"deleted": 1}));
    assert_eq!(delete("?model=other").json(), json!({"deleted": 0}));
    assert_eq!(ids(&list(&rig, "")), [third, first]);
    assert_eq!(delete("?model=demo").json(), json!({"deleted": 2}));
    dead(&rig, "4");
    assert_eq!(delete("?all=true").json(), json!({"deleted": 1}));
    assert_eq!(ids(&list(&rig, "")), []);
}

#[test]
fn unknown_dead_letter_is_a_404() {
    let rig = Rig::operated();
    let fine = rig.submit("Fine");
    rig.finish(&rig.claim(), &answer("Done."));
    for (method, tail) in [("GET", ""), ("DELETE", ""), ("POST", "/replay")] {
        let send =
            |id: &str| rig.admin().send(method, &format!("/admin/dead-letters/{id}{tail}"), None);
        for id in [fine, TaskId::new()] {
            let (status, detail) = send(&id.to_string()).error();
            assert_eq!(status, 404, "{method}");
            assert!(detail.contains("GET /admin/dead-letters"), "{detail}");
        }
        assert_eq!(send("7").problem()["loc"], json!(["path", "task_id"]));
    }
}
