//! Tests the log line of a request, and that it never contains a prompt or a key.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::rig::{ADMIN_KEY, KEY, Rig};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn request_logs_one_line_without_secrets() {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let rig = Rig::operated();
    let client = rig.client().with("x-request-id", "the-good-one");
    let body = json!({"prompt": "s3cret prompt", "user_id": "s3cret user"});
    let id = client.post("/generate", &body).json()["task_id"].as_str().unwrap().to_owned();
    let bad = json!({"prompt": "s3cret prompt", "s3cret_field": 1, "model": "s3cret"});
    assert_eq!(rig.client().with("x-request-id", "bad").post("/generate", &bad).status, 422);
    let thief = rig.client_with(Some("s3cret-key")).with("x-request-id", "thief");
    // The address must come from the connection, not from headers.
    let thief = thief
        .with("x-forwarded-for", "6.6.6.6 client=6.6.6.6")
        .with("forwarded", "for=6.6.6.6")
        .with("x-real-ip", "6.6.6.6");
    thief.get("/status/s3cret-id");
    let curious = rig.client().with("x-request-id", "curious").with("x-forwarded-for", "6.6.6.6");
    assert_eq!(curious.get("/admin/workers").status, 403);
    rig.client().with("x-request-id", "lost").get("/s3cret-path");

    let evil = json!({"model": "demo\n INFO gateway.admin: who=\"admin\" forged s3cret"});
    rig.admin().with("x-request-id", "evil").post("/admin/pause", &evil);
    let pause = rig.admin();
    assert_eq!(pause.post("/admin/pause", &json!({"model": "demo"})).status, 200);

    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let ours = |id: &str| -> Vec<&str> {
        log.lines().filter(|line| line.contains(&format!("request_id=\"{id}\""))).collect()
    };
    let lines = ours("the-good-one");
    assert_eq!(lines.len(), 1, "{log}");
    for part in [" INFO ", "gateway.generate", "POST /generate -> 202 in", &id, "tenant=key-"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(ours("bad")[0].contains("-> 422 in"));
    assert!(ours("thief")[0].contains("gateway.status: GET /status/{task_id} -> 401"));
    for (id, status) in [("thief", "-> 401"), ("curious", "-> 403"), ("evil", "-> 404")] {
        let line = ours(id)[0];
        assert!(line.contains(status), "{line}");
        assert_eq!(line.matches("client=").count(), 1, "{line}");
        assert!(line.contains("client=127.0.0.1 ") || line.ends_with("client=127.0.0.1"), "{line}");
    }
    assert!(!ours("the-good-one")[0].contains("client="), "who is let in is known by the tenant");
    let gateways: String = log.lines().filter(|line| line.contains("gateway")).collect();
    assert!(!gateways.contains("6.6.6.6"), "{gateways}");
    assert!(ours("lost")[0].contains("gateway.http: GET (no route) -> 404"));
    let acts = log.lines().filter(|line| line.contains("who=\"admin\"")).collect::<Vec<_>>();
    assert_eq!(acts.len(), 1, "one line for what was done, none for what was not: {log}");
    for part in
        [" INFO ", "gateway.admin", "a model is paused", "model=\"demo\"", "client=127.0.0.1"]
    {
        assert!(acts[0].contains(part), "{part}: {}", acts[0]);
    }
    assert!(ours("evil")[0].contains("POST /admin/pause -> 404"), "{log}");
    let own: String = log.lines().filter(|line| line.contains("gateway")).collect();
    assert!(!own.contains("s3cret") && !own.contains(KEY) && !own.contains(ADMIN_KEY), "{own}");
}
