//! Clients that leave while their tasks are queued, in prefill and in decode.
#![allow(clippy::print_stdout)] // what was measured belongs to a test's output

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::KEY;
use harness::system::{Plan, System};
use harness::{models, wait_for};
use serde_json::{Value, json};

const CLIENTS: usize = 100;
const ADMIN: &str = "operators-key";
/// Within this time after the last client left, nothing of theirs is queued or running.
const SOON: Duration = Duration::from_secs(1);

/// Requests an answer, every second one as a stream, every third one with a long prompt.
fn open(port: u16, model: &str, n: usize) -> TcpStream {
    let words = if n.is_multiple_of(3) { 400 } else { 3 };
    let body = json!({
        "model": model, "stream": n.is_multiple_of(2), "max_tokens": 1500, "temperature": 0,
        "messages": [{"role": "user", "content": format!("{n} {}", "count ".repeat(words))}],
    })
    .to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("a sent request");
    socket
}

#[test]
fn a_hundred_clients_that_leave_take_their_tasks_with_them() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(10),
        settings: &[("ADMIN_API_KEY", ADMIN)],
    };
    let system = System::start(&plan);
    let operator = Client::with_key(system.client.port(), ADMIN);
    let served = system.client.get("/v1/models").body["data"][0]["id"].clone();
    let served = served.as_str().expect("a model");
    let counts = || -> Option<(u64, u64)> {
        let overview = operator.get("/admin/overview").body;
        let queue = &overview["queues"][0];
        let queued = queue["queued"].as_object()?.values().filter_map(Value::as_u64).sum();
        Some((queued, queue["processing"].as_u64()?))
    };
    for round in 0..3 {
        let sockets: Vec<TcpStream> =
            (0..CLIENTS).map(|n| open(system.client.port(), served, round * CLIENTS + n)).collect();
        wait_for("tasks that wait and tasks that run", Duration::from_secs(30), || {
            let (queued, processing) = counts()?;
            (processing > 0 && queued + processing == CLIENTS as u64).then_some(())
        });
        std::thread::sleep(Duration::from_millis(200 * round as u64)); // further into the answers
        let (queued, processing) = counts().expect("an overview");
        let left = Instant::now();
        drop(sockets);
        while counts() != Some((0, 0)) {
            assert!(left.elapsed() < SOON, "after {SOON:?}: {:?}", counts());
            std::thread::sleep(Duration::from_millis(10));
        }
        println!(
            "{queued} queued and {processing} running tasks: gone after {} ms",
            left.elapsed().as_millis()
        );
    }
}
