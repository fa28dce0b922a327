//! How much memory a large blob takes in the process that stores and reads it. `QWEN_QUEUE_FULL_BLOBS=1` takes a
//! blob of 200 MB instead of 48.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::TenantId;
use queue::{BlobLimits, BlobStore, NewBlob};

use crate::support::*;

/// The process may grow by so many bytes: a few pieces, and what the allocator keeps.
const GROWTH: u64 = 16 << 20;

/// The largest resident set so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[allow(clippy::print_stdout)] // the measurement; clippy.toml allows it in `#[test]` functions only
async fn takes_little(on: Fixture) {
    let whole = std::env::var_os("QWEN_QUEUE_FULL_BLOBS").is_some();
    let size: u64 = if whole { 200_000_000 } else { 48_000_000 };
    let store = BlobStore::new(on.broker.clone(), BlobLimits::default());
    let new = || NewBlob {
        tenant: TenantId::new("tenant"),
        purpose: "batch".into(),
        media_type: String::new(),
        filename: None,
        ttl: None,
        announced: None,
    };
    let warm = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 20]))]);
    store.put(new(), warm).await.unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak so far is forgotten
    let before = peak();
    let began = std::time::Instant::now();
    let body = stream::iter(0..size / 50_000)
        .map(|nth| Ok::<_, Infallible>(Bytes::from(vec![nth as u8; 50_000])));
    let put = store.put(new(), body).await.unwrap();
    let (stored, took) = (peak(), began.elapsed());
    let found = store.find(&put.tenant, put.id).await.unwrap().unwrap();
    let read = found.read().try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64));
    assert_eq!(read.await.unwrap(), size);
    let (after, both) = (peak(), began.elapsed());
    println!(
        "{size} bytes: peak {} KiB before, {} stored, {} read; put {took:?}, put and get {both:?}",
        before >> 10,
        stored >> 10,
        after >> 10
    );
    assert!(after < before + GROWTH, "grew from {before} to {after} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blob_in_redis_takes_little_memory() {
    takes_little(Fixture::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blob_in_a_folder_takes_little_memory() {
    takes_little(Fixture::sqlite()).await;
}
