//! Tests that a task is cancelled when the client that waits for it disconnects.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use protocol::{ModelId, Outcome, TaskId};
use serde_json::{Value, json};

use crate::openai::{CHAT, COMPLETIONS, EMBEDDINGS, chat, with};
use crate::rig::{KEY, Rig, answer};

/// Within this time after the disconnect, the task is cancelled.
const SOON: Duration = Duration::from_secs(1);

/// Sends a request on a new connection and leaves the response unread.
fn connect(rig: &Rig, path: &str, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).unwrap();
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Waits until so many tasks are queued.
fn until_queued(rig: &Rig, count: u64) {
    let began = Instant::now();
    while rig.wait(rig.broker.depth(&ModelId::new("demo"))).unwrap().queued != count {
        assert!(began.elapsed() < SOON, "{count} tasks are queued");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the cancellation of a running task is requested.
fn until_cancelled(rig: &Rig, id: TaskId) {
    let began = Instant::now();
    while !rig.wait(rig.broker.snapshot(id)).unwrap().unwrap().cancel_requested {
        assert!(began.elapsed() < SOON, "the task is cancelled");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The requests of all routes, and the number of their tasks.
fn requests() -> Vec<(&'static str, Value, u64)> {
    let two = json!({"prompt": ["a", "b"]});
    vec![
        (CHAT, chat(json!({})), 1),
        (CHAT, chat(json!({"stream": true})), 1),
        (COMPLETIONS, two.clone(), 2),
        (COMPLETIONS, with(two, json!({"stream": true})), 2),
        (EMBEDDINGS, json!({"input": ["a", "b"]}), 1),
    ]
}

#[test]
fn queued_tasks_are_cancelled() {
    let rig = Rig::start();
    for (path, body, tasks) in requests() {
        let socket = connect(&rig, path, &body);
        until_queued(&rig, tasks);
        drop(socket);
        until_queued(&rig, 0);
    }
}

#[test]
fn running_tasks_are_cancelled() {
    let rig = Rig::start();
    for (path, body, tasks) in requests() {
        let socket = connect(&rig, path, &body);
        let running: Vec<_> = (0..tasks).map(|_| rig.claim()).collect();
        drop(socket);
        for claimed in running {
            until_cancelled(&rig, claimed.task.id);
            rig.finish(&claimed, &Outcome::CANCELLED);
        }
    }
}

#[test]
fn tasks_are_cancelled_after_a_part_of_the_response_was_sent() {
    let rig = Rig::with(|options| {
        options.silent_wait = Duration::from_millis(50);
        options.keep_alive = Duration::from_millis(50);
    });
    for (path, body, tasks) in requests() {
        let mut socket = connect(&rig, path, &body);
        let running: Vec<_> = (0..tasks).map(|_| rig.claim()).collect();
        if path != EMBEDDINGS {
            rig.publish(&running[0], &["Be"]);
        }
        let mut head = [0; 16];
        socket.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"), "{path}");
        drop(socket);
        for claimed in running {
            until_cancelled(&rig, claimed.task.id);
            rig.finish(&claimed, &Outcome::CANCELLED);
        }
    }
}

#[test]
fn a_task_that_another_request_submitted_goes_on() {
    let rig = Rig::start();
    let first = {
        let client = rig.client().with("idempotency-key", "k1");
        std::thread::spawn(move || client.post(CHAT, &chat(json!({}))))
    };
    let claimed = rig.claim();
    let mut second = TcpStream::connect(rig.address).unwrap();
    let body = chat(json!({})).to_string();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nidempotency-key: k1\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    second.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(second);
    std::thread::sleep(Duration::from_millis(300));
    let snapshot = rig.wait(rig.broker.snapshot(claimed.task.id)).unwrap().unwrap();
    assert!(!snapshot.cancel_requested);
    rig.finish(&claimed, &answer("Because."));
    assert_eq!(first.join().unwrap().status, 200);
}
