//! A process dies before or after each step of each operation on blobs. Whatever it leaves, every blob that is
//! listed can be read, and reapers delete all bytes that no blob has.

use std::sync::Arc;
use std::time::Duration;

use protocol::BlobId;
use queue::{BlobLimits, BlobOrder, BlobPage, BlobStore};

use super::blobs::{bytes, collect, new_blob, pieces, store, tenant};
use crate::support::mortal::{Fuse, Mortal};
use crate::support::*;

/// Longer than an upload may exist, and shorter than a blob lives.
const HOURS: Duration = Duration::from_secs(3 * 60 * 60);

fn mortal_store(on: &Fixture, fuse: &Arc<Fuse>) -> BlobStore {
    let records = Mortal { inner: on.broker.clone(), fuse: Arc::clone(fuse) };
    BlobStore::new(Arc::new(records), BlobLimits::default())
}

/// The tenant's blobs, each of which was read.
async fn readable(on: &Fixture) -> Vec<BlobId> {
    let store = store(on);
    let page = BlobPage { purpose: None, after: None, limit: 99, order: BlobOrder::Oldest };
    let mut ids = Vec::new();
    for blob in store.list(&tenant(), &page).await.unwrap().blobs {
        let found = store.find(&tenant(), blob.id).await.unwrap().expect("it is listed");
        assert_eq!(collect(found.read()).await, bytes(blob.size as usize), "record without bytes");
        ids.push(blob.id);
    }
    ids
}

/// Checks that the next processes remove everything except these blobs, then also those.
async fn leaves_no_orphans(on: &Fixture, contents: usize, case: &str) {
    let store = store(on);
    let before = readable(on).await;
    on.age_blobs(HOURS).await;
    store.reap().await.unwrap();
    assert_eq!(readable(on).await, before, "{case}");
    let (held, _) = on.traces_of_blobs().await;
    assert!(held.len() <= contents.min(before.len()), "{case}: bytes without a record: {held:?}");
    for id in before {
        assert!(store.delete(&tenant(), id).await.unwrap());
    }
    store.reap().await.unwrap();
    assert_eq!(store.used(&tenant()).await.unwrap(), 0, "{case}");
    assert_eq!(on.traces_of_blobs().await, Default::default(), "{case}");
}

async fn a_crash_in_an_upload_leaves_no_orphans(on: Fixture) {
    let content = bytes(600_000);
    for (after, repeated) in [(false, false), (true, false), (false, true)] {
        for steps in 0.. {
            let case = format!("{steps} steps, after the next: {after}, repeated: {repeated}");
            let contents = if repeated {
                store(&on).put(new_blob(), pieces(&content, 200_000)).await.unwrap();
                1
            } else {
                0
            };
            let fuse = Fuse::new(steps, after);
            let store = mortal_store(&on, &fuse);
            let put = fuse.run(store.put(new_blob(), pieces(&content, 200_000))).await;
            let recorded = readable(&on).await.len();
            if let Some(put) = put {
                put.unwrap();
                assert_eq!(recorded, contents + 1, "{case}");
                // Reserve, open, three writes, finish, commit.
                assert_eq!(steps, 7, "{case}");
            }
            leaves_no_orphans(&on, 1, &case).await;
            if !fuse.is_dead() {
                break;
            }
        }
    }
}

async fn a_crash_in_deleting_touching_and_reaping_leaves_no_orphans(on: Fixture) {
    for after in [false, true] {
        for steps in 0.. {
            let case = format!("{steps} steps, after the next: {after}");
            let mut put = Vec::new();
            for size in [300_000, 300_000, 1000] {
                let content = bytes(size);
                put.push(store(&on).put(new_blob(), pieces(&content, 100_000)).await.unwrap().id);
            }
            let fuse = Fuse::new(steps, after);
            let mortal = mortal_store(&on, &fuse);
            let done = fuse
                .run(async {
                    mortal.delete(&tenant(), put[2]).await.unwrap();
                    mortal.reap().await.unwrap();
                    mortal.touch(&tenant(), put[1], HOURS * 1000).await.unwrap();
                    mortal.delete(&tenant(), put[0]).await.unwrap();
                    mortal.reap().await.unwrap();
                })
                .await;
            let left = readable(&on).await;
            assert!(left.contains(&put[1]), "{case}");
            if done.is_some() {
                assert_eq!(left, [put[1]], "{case}");
                assert!(steps >= 8, "{case}");
            }
            leaves_no_orphans(&on, 2, &case).await;
            if done.is_some() {
                break;
            }
        }
    }
}

run_on_every_broker!(
    a_crash_in_an_upload_leaves_no_orphans,
    a_crash_in_deleting_touching_and_reaping_leaves_no_orphans,
);
