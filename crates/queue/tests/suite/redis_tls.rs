//! TLS to Redis, with certificates made for the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use queue::{Broker, BrokerError, OpenError, RedisBroker, RedisOptions};
use tempfile::TempDir;

use crate::support::*;
use harness::free_port;
use harness::redis::RedisServer;

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A server that speaks TLS on the port, and the certificate of who signed its own.
fn server() -> (RedisServer, u16, TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
    );
    openssl(at, "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr");
    std::fs::write(at.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(
        at,
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem",
    );
    let path = |name: &str| at.join(name).display().to_string();
    let (port, certificate, key) = (free_port(), path("redis.pem"), path("redis.key"));
    let server = RedisServer::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let ca_file = at.join("ca.pem");
    (server, port, folder, ca_file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_go_through_tls_and_a_server_that_nobody_vouches_for_is_refused() {
    let (_server, port, _folder, ca_file) = server();
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = RedisOptions { ca_file: Some(ca_file), ..RedisOptions::new(url.clone()) };
    let broker = RedisBroker::connect(trusting).unwrap();
    let mut feed = broker.cancellations();
    let task = submitted(&broker).await;
    let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    assert_eq!(held.task, task);
    eventually("a wake-up", async || {
        broker.cancel(task.id).await.unwrap();
        let wait = std::time::Duration::from_millis(100);
        tokio::time::timeout(wait, feed.next()).await.is_ok()
    })
    .await;
    assert!(broker.claim(&claimant(LONG), SHORT).await.unwrap().is_none(), "a blocking read");
    broker.finish(&held.lease, &completed("x")).await.unwrap();

    let suspicious = RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let answer = suspicious.ping().await;
    let Err(BrokerError::Unavailable { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let options = RedisOptions {
        ca_file: Some("/none/ca.pem".into()),
        ..RedisOptions::new("rediss://localhost")
    };
    let Err(error) = RedisBroker::connect(options) else { panic!("accepted") };
    assert!(matches!(error, OpenError::RedisCa { .. }), "{error}");
    assert!(error.to_string().contains("/none/ca.pem"), "{error}");
}
