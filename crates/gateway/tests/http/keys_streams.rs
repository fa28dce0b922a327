//! Tests that open streams and waits end when their key is taken away.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::keys::{client, made};
use crate::rig::Rig;

/// Opens a stream on a raw socket and returns the lines to come.
fn open(
    rig: &Rig,
    method: &str,
    path: &str,
    key: &str,
    body: &str,
) -> BufReader<std::net::TcpStream> {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn rest(mut stream: impl BufRead) -> String {
    let mut text = String::new();
    while matches!(stream.read_line(&mut text), Ok(1..)) {}
    text
}

fn take_away(rig: &Rig, how: &str, id: &str) {
    let path = format!("/admin/keys/{id}");
    let reply = match how {
        "revoke" => rig.admin().send("DELETE", &path, None),
        "block" => rig.admin().patch(&path, &json!({"blocked": true})),
        "expire" => {
            let at = protocol::Timestamp::now().as_millis() + 200;
            rig.admin().patch(&path, &json!({ "expires_at": at }))
        }
        _ => rig.admin().post(&format!("{path}/rotate"), &Value::Null),
    };
    assert_eq!(reply.status, 200, "{how}: {reply:?}");
}

#[test]
fn streams_and_waits_end_with_their_key() {
    let rig = Arc::new(Rig::operated());
    for how in ["revoke", "block", "expire", "rotate"] {
        let key = made(&rig, &json!({"name": how, "owner": "acme"}));
        let (id, text) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
        let reply = client(&rig, &key).post("/generate", &json!({"prompt": "x"}));
        let task = reply.json()["task_id"].as_str().unwrap().to_owned();
        let events = open(&rig, "GET", &format!("/events/{task}"), text, "");
        let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let wait = open(&rig, "POST", "/v1/chat/completions", text, &chat.to_string());
        let waiting = {
            let (rig, key, task) = (Arc::clone(&rig), key.clone(), task.clone());
            std::thread::spawn(move || client(&rig, &key).get(&format!("/result/{task}?wait=8")))
        };
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        take_away(&rig, how, id);
        let (events, wait) = (rest(events), rest(wait));
        let reply = waiting.join().unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1500), "{how}: {took:?}");
        assert!(
            events.contains("event: error\ndata: {\"detail\":\"This API key"),
            "{how}: {events}"
        );
        assert!(wait.starts_with("HTTP/1.0 401"), "{how}: {wait}");
        assert!(wait.contains("\"type\":\"authentication_error\""), "{how}: {wait}");
        assert_eq!(reply.status, 401, "{how}: {reply:?}");
    }
}

#[test]
fn a_stream_outlives_changes_of_other_keys() {
    let rig = Rig::operated();
    let key = made(&rig, &json!({"name": "stays"}));
    let other = made(&rig, &json!({"name": "goes"}));
    let reply = client(&rig, &key).post("/generate", &json!({"prompt": "x"}));
    let task = reply.json()["task_id"].as_str().unwrap().to_owned();
    let events = open(&rig, "GET", &format!("/events/{task}"), key["key"].as_str().unwrap(), "");
    std::thread::sleep(Duration::from_millis(200));
    take_away(&rig, "revoke", other["id"].as_str().unwrap());
    std::thread::sleep(Duration::from_millis(500));
    rig.finish(&rig.claim(), &crate::rig::answer("done"));
    assert!(rest(events).contains("event: completed"));
}
