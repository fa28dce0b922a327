//! Hundreds of simultaneous streams at one gateway.
#![allow(clippy::print_stdout)] // what was measured belongs to a test's output

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::process::KEY;
use harness::system::{Plan, System};
use harness::wait_for;
use serde_json::{Value, json};

use crate::frames::Frames;

const STREAMS: usize = 500;
/// Memory that a gateway may need for each stream, with its connection and its place in the queue.
const BYTES_PER_STREAM: u64 = 48 * 1024;

/// Returns a number of `/proc/PID/status`; sizes are in KiB.
pub(crate) fn proc_status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{field} of {pid}"))
}

/// Sends a streamed chat completion on a connection of its own.
pub(crate) fn open(port: u16, n: usize) -> TcpStream {
    let body = json!({
        "model": "demo", "stream": true, "max_tokens": 8, "temperature": 0,
        "messages": [{"role": "user", "content": format!("What is a lease? ({n})")}],
    })
    .to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("a sent request");
    socket
}

#[test]
fn five_hundred_streams_need_bounded_memory_and_no_threads() {
    let plan = Plan { model: "demo", workers: 0, lease: Duration::from_secs(10), settings: &[] };
    let mut system = System::start(&plan);
    let pid = system.gateway.process().pid();
    // Fills pools and caches, which later requests share.
    drop((0..20).map(|n| open(system.client.port(), n)).collect::<Vec<_>>());
    wait_for("tasks of clients that left", Duration::from_secs(10), || {
        (system.client.get("/health").body["queued"] == 0).then_some(())
    });
    let (threads, memory) = (proc_status(pid, "Threads"), proc_status(pid, "VmRSS"));

    let port = system.client.port();
    let sockets: Vec<TcpStream> = (0..STREAMS).map(|n| open(port, n)).collect();
    wait_for("all in the queue", Duration::from_secs(30), || {
        let depth = system.client.get("/health").body["queued"].as_u64()?;
        (depth >= STREAMS as u64).then_some(())
    });
    system.add_worker(&[]);
    let began = Instant::now();
    let answers: Vec<(String, bool)> = sockets
        .into_iter()
        .map(|socket| {
            let chunks: Vec<Value> = Frames::new(BufReader::new(socket)).collect();
            let choices = || chunks.iter().map(|chunk| &chunk["choices"][0]);
            let text = choices().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
            let ends = choices().filter(|choice| choice["finish_reason"].is_string()).count();
            (text, ends == 1)
        })
        .collect();
    let seconds = began.elapsed().as_secs_f64();
    let (threads_with, peak) = (proc_status(pid, "Threads"), proc_status(pid, "VmHWM"));
    println!(
        "{STREAMS} streams in {seconds:.1} s: threads {threads} and {threads_with}, \
         memory {memory} KiB and at most {peak} KiB"
    );
    assert!(answers.iter().all(|(text, is_whole)| *is_whole && !text.is_empty()), "{answers:?}");
    assert!(threads_with <= threads + 1, "threads for streams"); // the pool for disk access starts on demand
    assert!(
        (peak - memory) * 1024 <= STREAMS as u64 * BYTES_PER_STREAM,
        "memory {memory} KiB, at most {peak} KiB"
    );
}
