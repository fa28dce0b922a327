//! Runs a plain Python client, written from the S3 contract alone, without changes.

use std::path::Path;
use std::process::Command;

use harness::client::Client;
use harness::free_port;
use harness::process::{Home, KEY, Process};
use harness::redis::RedisServer;

fn run_client(port: u16) {
    let python = std::env::var("QWEN_QUEUE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/s3_client.py");
    let url = format!("http://127.0.0.1:{port}");
    let output =
        Command::new(&python).arg(script).args([&url, KEY]).output().expect("cannot run Python");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}\n(scripts/test installs `requests`)");
    assert!(said.contains("the S3 contract holds"), "{said}");
}

#[test]
fn on_the_embedded_queue() {
    let (home, port) = (Home::new(), free_port());
    let settings = [("PORT", &*port.to_string()), ("API_KEYS", KEY)];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    Client::new(port).wait_until_healthy(&mut up, true);
    run_client(port);
}

#[test]
fn on_redis() {
    let redis = RedisServer::durable();
    let (homes, port) = ([Home::new(), Home::new()], free_port());
    let (url, port_text) = (redis.url(), port.to_string());
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("REDIS_URL", &url)];
    let mut gateway = Process::start(&homes[0], "qwen-queue", &["gateway"], &settings);
    let _worker = Process::start(&homes[1], "qwen-queue", &["worker"], &settings);
    Client::new(port).wait_until_healthy(&mut gateway, true);
    run_client(port);
}
