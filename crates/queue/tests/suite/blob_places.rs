//! Bytes of blobs in other places than the broker's own, and what an embedded queue does with those that its last
//! process left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use queue::{
    BlobBytes, BlobLimits, BlobPlace, BlobStore, BlobUpload, Blobs, BrokerError, Folder,
    SqliteBroker, Wanted,
};

use crate::conformance::blobs::{bytes, collect, new_blob, pieces, tenant};
use crate::support::*;

/// The files in a folder and its folders.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Stores, reads, shares and deletes.
async fn serves(on: Fixture, place: Arc<dyn BlobBytes>, size: usize) {
    let store = BlobStore::new(on.broker.clone(), BlobLimits::default()).with_bytes(place);
    let content = bytes(size);
    let put = store.put(new_blob(), pieces(&content, 1_000_000)).await.unwrap();
    let empty = store.put(new_blob(), pieces(&Bytes::new(), 1)).await.unwrap();
    let found = store.find(&tenant(), put.id).await.unwrap().unwrap();
    assert!(collect(found.read()).await == content);
    let end = size as u64;
    for (from, to) in [(0, 1), (end / 2 - 1, end - 1), (end - 1, end)] {
        let part = collect(found.read_range(from..to).unwrap()).await;
        assert!(part == content[from as usize..to as usize], "{from}..{to}");
    }
    let found = store.find(&tenant(), empty.id).await.unwrap().unwrap();
    assert!(collect(found.read()).await.is_empty());
    let again = store.put(new_blob(), pieces(&content, 999_999)).await.unwrap();
    assert!(store.touch(&tenant(), again.id, Duration::from_secs(9)).await.unwrap().is_some());
    assert_eq!(store.reap().await.unwrap(), 1, "the second copy");
    store.delete(&tenant(), put.id).await.unwrap();
    store.reap().await.unwrap();
    let found = store.find(&tenant(), again.id).await.unwrap().unwrap();
    assert!(collect(found.read()).await == content);
    store.delete(&tenant(), again.id).await.unwrap();
    store.delete(&tenant(), empty.id).await.unwrap();
    assert_eq!(store.reap().await.unwrap(), 2);
    let failed = found.read().next().await.unwrap().unwrap_err();
    assert!(matches!(failed, BrokerError::Corrupt(_)), "{failed}");
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_have_records_only() {
    let folder = tempfile::tempdir().unwrap();
    serves(Fixture::redis(), Arc::new(Folder::new(folder.path())), 700_000).await;
    assert_eq!(files(folder.path()), [""; 0]);
}

#[cfg(feature = "object-store")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_store_has_bytes_of_either_broker() {
    for on in [Fixture::redis(), Fixture::sqlite()] {
        // More than two objects.
        serves(on, queue::object_store("memory:///prefix").unwrap(), 20_000_000).await;
    }
}

#[cfg(feature = "object-store")]
#[test]
fn object_store_is_opened_by_its_url_without_contact() {
    for url in ["s3://bucket/prefix", "gs://bucket", "az://container/prefix"] {
        match queue::object_store(url) {
            Ok(store) => assert_eq!(store.name(), "object store"),
            // What the environment lacks is named.
            Err(error) => assert!(error.to_string().contains(url), "{error}"),
        }
    }
    assert!(queue::object_store("nonsense").is_err());
}

#[tokio::test]
async fn uploads_of_the_last_process_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let upload = BlobUpload { place: BlobPlace::new(), tenant: tenant() };
    {
        let broker = SqliteBroker::open(folder.path()).unwrap();
        let hour = Duration::from_secs(3600);
        broker.reserve_blob(&upload, Wanted::All(9), 9, hour).await.unwrap();
        let mut writer = broker.own_bytes().writer(upload.place, hour).await.unwrap();
        writer.write(bytes(9)).await.unwrap();
    }
    let blobs = folder.path().join("blobs");
    assert_eq!(files(&blobs).len(), 1);
    let broker = Arc::new(SqliteBroker::open(folder.path()).unwrap());
    let store = BlobStore::new(broker, BlobLimits::default());
    assert_eq!(store.used(&tenant()).await.unwrap(), 9);
    assert_eq!(store.reap().await.unwrap(), 1);
    assert_eq!(store.used(&tenant()).await.unwrap(), 0);
    assert_eq!(files(&blobs), [""; 0]);
}
