//! TLS to Redis, with certificates made for the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use queue::{Broker, BrokerError, OpenError, RedisBroker, RedisOptions};
use tempfile::TempDir;

use crate::support::*;
use harness::cluster::RedisCluster;
use harness::free_port;
use harness::redis::RedisServer;

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A certificate for this machine and that of its issuer, in a temporary folder.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
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
        Self { folder }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the settings of a server with the certificate.
    fn settings(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("--tls-cert-file", path("redis.pem")),
            ("--tls-key-file", path("redis.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_works_and_an_untrusted_certificate_is_refused() {
    let (certificates, port) = (Certificates::make(), free_port().to_string());
    let settings = certificates.settings();
    let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    settings.extend(["--tls-port", &port]);
    let _server = RedisServer::with(&settings);
    let url = format!("rediss://127.0.0.1:{port}");
    let ca_file = Some(certificates.ca_file());
    let trusting = RedisOptions { ca_file, ..RedisOptions::new(url.clone()) };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_of_a_cluster_is_reached_over_tls() {
    let certificates = Certificates::make();
    let settings = certificates.settings();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let cluster = RedisCluster::with(&settings);
    // Only one node is known at first; the others are found through it.
    let url = cluster.url().split(',').next().unwrap().to_owned();
    assert!(url.starts_with("rediss://"), "{url}");
    let ca_file = Some(certificates.ca_file());
    let trusting = RedisOptions { ca_file, partitions: 3, ..RedisOptions::new(url.clone()) };
    let broker = RedisBroker::connect(trusting).unwrap();
    for _ in 0..30 {
        submitted(&broker).await;
    }
    let worker = claimant(LONG);
    for _ in 0..30 {
        let held = claimed(&broker, &worker).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    for (node, slots) in cluster.nodes.iter().zip(["5649", "9842", "13907"]) {
        let keys = node.command(&["CLUSTER", "COUNTKEYSINSLOT", slots]);
        assert!(keys.parse::<u32>().unwrap() > 0, "slot {slots} has tasks");
    }

    let suspicious = RedisOptions { partitions: 3, ..RedisOptions::new(url) };
    let answer = RedisBroker::connect(suspicious).unwrap().ping().await;
    let Err(BrokerError::Unavailable { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
}

#[tokio::test]
async fn unreadable_ca_file_is_named() {
    let options = RedisOptions {
        ca_file: Some("/none/ca.pem".into()),
        ..RedisOptions::new("rediss://localhost")
    };
    let Err(error) = RedisBroker::connect(options) else { panic!("accepted") };
    assert!(matches!(error, OpenError::RedisCa { .. }), "{error}");
    assert!(error.to_string().contains("/none/ca.pem"), "{error}");
}
