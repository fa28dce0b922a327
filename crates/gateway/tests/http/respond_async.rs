//! Tests `Prefer: respond-async` on the routes that wait for a task.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use protocol::TaskState;
use serde_json::{Value, json};

use crate::client::Client;
use crate::openai::{CHAT, COMPLETIONS, EMBEDDINGS, chat, with};
use crate::rig::{KEY, Rig, answer, task_id};

fn client(rig: &Rig, prefer: &str) -> Client {
    rig.client().with("prefer", prefer)
}

/// The requests of routes that honour the preference.
fn requests() -> Vec<(&'static str, Value)> {
    let message = json!({
        "model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": "Why?"}],
    });
    let stream = |body: &Value| with(body.clone(), json!({"stream": true}));
    let response = json!({"model": "demo", "input": "a"});
    vec![
        (CHAT, chat(json!({}))),
        (CHAT, stream(&chat(json!({})))),
        (COMPLETIONS, json!({"prompt": "a"})),
        ("/v1/responses", response.clone()),
        ("/v1/responses", stream(&response)),
        ("/v1/messages", message.clone()),
        ("/v1/messages", stream(&message)),
    ]
}

#[test]
fn the_task_is_named_at_once_and_its_result_is_fetched_later() {
    let rig = Rig::start();
    let client = client(&rig, "respond-async");
    for (path, body) in requests() {
        let reply = client.post(path, &body);
        assert_eq!(reply.status, 202, "{path} {reply:?}");
        assert_eq!(reply.header("preference-applied"), Some("respond-async"));
        let id = task_id(&reply.json());
        assert_eq!(reply.json()["status"], "queued", "{path}");
        assert_eq!(reply.header("x-task-id"), Some(&*id.to_string()));
        let location = format!("/result/{id}");
        assert_eq!(reply.header("location"), Some(&*location));
        sleep(Duration::from_millis(50));
        let claimed = rig.claim();
        assert_eq!(claimed.task.id, id, "{path}: it is not cancelled");
        rig.finish(&claimed, &answer("Because."));
        assert_eq!(rig.client().get(&location).json()["result"], "Because.", "{path}");
    }
}

#[test]
fn an_answer_within_the_wait_is_returned_in_the_routes_format() {
    let rig = Rig::start();
    let asking = {
        let client = client(&rig, "respond-async, wait=20");
        std::thread::spawn(move || client.post(CHAT, &chat(json!({}))))
    };
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    let reply = asking.join().unwrap();
    assert_eq!((reply.status, &reply.json()["object"]), (200, &json!("chat.completion")));
    assert_eq!(reply.header("preference-applied"), Some("respond-async, wait=20"));

    let late = client(&rig, "respond-async, wait=1").post(CHAT, &chat(json!({})));
    assert_eq!((late.status, &late.json()["status"]), (202, &json!("queued")), "{late:?}");
}

#[test]
fn the_task_goes_on_when_the_client_leaves_during_the_wait() {
    let rig = Rig::start();
    let body = chat(json!({})).to_string();
    let mut socket = TcpStream::connect(rig.address).unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nprefer: respond-async, wait=30\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let claimed = rig.claim();
    drop(socket);
    sleep(Duration::from_millis(400));
    let snapshot = rig.wait(rig.broker.snapshot(claimed.task.id)).unwrap().unwrap();
    assert_eq!((snapshot.state, snapshot.cancel_requested), (TaskState::Processing, false));
}

#[test]
fn the_preference_is_ignored_if_the_result_would_be_incomplete() {
    let rig = Rig::start();
    for (path, body, tasks) in [
        (CHAT, chat(json!({"n": 2})), 1),
        (COMPLETIONS, json!({"prompt": ["a", "b"]}), 2),
        (EMBEDDINGS, json!({"input": "a"}), 1),
    ] {
        let client = client(&rig, "respond-async");
        let asking = std::thread::spawn(move || client.post(path, &body));
        for _ in 0..tasks {
            let claimed = rig.claim();
            rig.finish(&claimed, &answer("Because."));
        }
        let reply = asking.join().unwrap();
        assert_ne!(reply.status, 202, "{path} {reply:?}");
        assert_eq!(reply.header("preference-applied"), None);
    }
}

#[test]
fn a_repeated_request_has_the_answer_in_the_routes_format() {
    let rig = Rig::start();
    let named = client(&rig, "respond-async").with("idempotency-key", "k1");
    let id = task_id(&named.post(CHAT, &chat(json!({}))).json());
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    let again = rig.client().with("idempotency-key", "k1").post(CHAT, &chat(json!({})));
    assert_eq!(again.header("x-task-id"), Some(&*id.to_string()));
    assert_eq!(again.json()["choices"][0]["message"]["content"], "Because.");
}
