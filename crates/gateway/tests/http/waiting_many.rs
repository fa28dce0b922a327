//! Tests that many waiting clients cost one socket each and few reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use queue::{Broker, RedisBroker, RedisOptions};

use crate::faulty_broker::{FaultyBroker, Record};
use crate::rig::{KEY, Rig, answer};

const TASKS: usize = 20;
const CLIENTS_PER_TASK: usize = 50;

/// Waits for all tasks on all clients, ends the tasks, and checks that each response arrives in
/// time.
fn assert_all_clients_answered(rig: &Rig, while_they_wait: impl FnOnce()) {
    // Both ends of every socket belong to this process.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let ids: Vec<_> = (0..TASKS).map(|n| rig.submit(&format!("{n}"))).collect();
    let mut sockets = Vec::new();
    for id in ids.iter().cycle().take(TASKS * CLIENTS_PER_TASK) {
        let mut socket = TcpStream::connect(rig.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            socket,
            "GET /result/{id}?wait=60 HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        sockets.push(socket);
    }
    std::thread::sleep(Duration::from_secs(1));
    while_they_wait();
    let held: Vec<_> = ids.iter().map(|_| rig.claim()).collect();
    for claimed in &held {
        rig.finish(claimed, &answer("Because."));
    }
    let ended = Instant::now();
    for mut socket in sockets {
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("Because."), "{text}");
    }
    let late = ended.elapsed();
    assert!(late < Duration::from_secs(1), "the last answer came {late:?} after the last end");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn many_clients_wait_without_polling() {
    let record = Arc::new(Record::default());
    let reads = &record.reads;
    let rig = Rig::on(|broker| FaultyBroker::recording(broker, &record), |_| {});
    let before = open_files();
    assert_all_clients_answered(&rig, || {
        let asked = reads.swap(0, Ordering::Relaxed);
        let clients = TASKS * CLIENTS_PER_TASK;
        assert!(asked <= 3 * clients, "{asked} reads to begin with");
        std::thread::sleep(Duration::from_secs(2));
        let idle = reads.swap(0, Ordering::Relaxed);
        assert!(idle <= clients, "{idle} reads while nothing happens");
    });
    let reads = reads.load(Ordering::Relaxed);
    // Reads at the start, at the end, and at most two regular ones in between.
    assert!(reads <= 4 * TASKS * CLIENTS_PER_TASK, "{reads} reads for all ends");
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_files() > before + 10 {
        assert!(Instant::now() < deadline, "{} files stay open, {before} were", open_files());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns Redis' list of its clients.
fn client_list(url: &str) -> String {
    let address = url.strip_prefix("redis://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"CLIENT LIST\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn many_waiting_clients_share_one_redis_reader() {
    let server = harness::redis::RedisServer::start();
    let options = RedisOptions::new(server.url());
    let rig =
        Rig::on(|_| Arc::new(RedisBroker::connect(options).unwrap()) as Arc<dyn Broker>, |_| {});
    assert_all_clients_answered(&rig, || {
        let clients = client_list(&server.url());
        let readers = clients.lines().filter(|line| line.contains(" sub=2 ")).count();
        assert_eq!(readers, 1, "{clients}");
        let all = clients.lines().count();
        assert!(all < 50, "{all} connections for {} clients", TASKS * CLIENTS_PER_TASK);
    });
}
