//! Blobs: what is put can be read, listed, kept and deleted by its owner, within bounds, and nothing remains of
//! what ended.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{BlobId, TenantId};
use queue::{
    BlobError, BlobLimits, BlobOrder, BlobPage, BlobPlace, BlobRecord, BlobStore, BlobUpload,
    BrokerError, ByteStream, ContentHash, NewBlob, Reserved, Wanted,
};

use crate::support::*;

pub(crate) fn store(on: &Fixture) -> BlobStore {
    store_within(on, BlobLimits::default())
}

fn store_within(on: &Fixture, limits: BlobLimits) -> BlobStore {
    BlobStore::new(on.broker.clone(), limits)
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("tenant with blanks")
}

pub(crate) fn new_blob() -> NewBlob {
    NewBlob {
        tenant: tenant(),
        purpose: "batch".into(),
        media_type: "application/jsonl".into(),
        filename: Some("requests \"7\" 🦀.jsonl".into()),
        ttl: None,
        announced: None,
    }
}

/// Bytes that differ everywhere.
pub(crate) fn bytes(count: usize) -> Bytes {
    let mut state = count as u64 | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect::<Vec<_>>()
        .into()
}

/// A stream of the bytes in pieces of that size.
pub(crate) fn pieces(
    bytes: &Bytes,
    size: usize,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + use<> {
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(size.max(1));
    stream::iter(starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + size)))))
}

pub(crate) async fn collect(stream: ByteStream) -> Vec<u8> {
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    pieces.concat()
}

async fn read(store: &BlobStore, id: BlobId) -> Option<Vec<u8>> {
    let found = store.find(&tenant(), id).await.unwrap()?;
    Some(collect(found.read()).await)
}

fn page(limit: usize) -> BlobPage {
    BlobPage { purpose: None, after: None, limit, order: BlobOrder::Oldest }
}

async fn a_blob_is_read_as_it_was_put(on: Fixture) {
    let store = store(&on);
    // Around the sizes of chunks and pieces.
    for size in [0, 1, 1000, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1_300_007] {
        let content = bytes(size);
        let put = store.put(new_blob(), pieces(&content, 40_000)).await.unwrap();
        assert_eq!(put.size, size as u64);
        let found = store.find(&tenant(), put.id).await.unwrap().unwrap();
        assert_eq!(found.blob, put);
        assert_eq!((put.purpose.as_str(), put.media_type.as_str()), ("batch", "application/jsonl"));
        assert_eq!(put.filename, new_blob().filename);
        let month = Duration::from_secs(30 * 86_400);
        assert_eq!(put.expires_at, put.created_at + month);
        assert!(collect(found.read()).await == content, "{size}");
    }
    let empty = store.put(new_blob(), pieces(&Bytes::new(), 1)).await.unwrap();
    assert_eq!(
        empty.hash.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(read(&store, BlobId::new()).await, None);
    let stranger = TenantId::new("stranger");
    assert!(store.find(&stranger, empty.id).await.unwrap().is_none());
    assert!(store.touch(&stranger, empty.id, LONG).await.unwrap().is_none());
    assert!(!store.delete(&stranger, empty.id).await.unwrap());
    assert!(store.list(&stranger, &page(9)).await.unwrap().blobs.is_empty());
}

async fn a_part_is_read_from_anywhere_to_anywhere(on: Fixture) {
    let store = store(&on);
    let content = bytes(700_000);
    let put = store.put(new_blob(), pieces(&content, 700_000)).await.unwrap();
    let found = store.find(&tenant(), put.id).await.unwrap().unwrap();
    let chunk = 256 << 10;
    for (from, to) in [
        (0, 1),
        (0, 700_000),
        (chunk - 1, chunk + 1),
        (chunk, 2 * chunk),
        (699_999, 700_000),
        (5, 5),
    ] {
        let part = collect(found.read_range(from..to).unwrap()).await;
        assert!(part == content[from as usize..to as usize], "{from}..{to}");
    }
    let rest = collect(found.read_range(699_000..u64::MAX).unwrap()).await;
    assert!(rest == content[699_000..], "a range is cut to the size");
    #[allow(clippy::reversed_empty_ranges)]
    for wrong in [700_000..700_001, 700_001..800_000, 9..3] {
        assert!(matches!(found.read_range(wrong), Err(BlobError::Range { size: 700_000, .. })));
    }
}

async fn blobs_are_listed_in_order_from_a_cursor(on: Fixture) {
    let store = store(&on);
    let mut put = Vec::new();
    for nth in 0..7 {
        let purpose = if nth % 3 == 0 { "vision" } else { "batch" };
        let new = NewBlob { purpose: purpose.into(), ..new_blob() };
        put.push(store.put(new, pieces(&bytes(nth), 9)).await.unwrap());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let other = NewBlob { tenant: TenantId::new("other"), ..new_blob() };
    store.put(other, pieces(&bytes(3), 9)).await.unwrap();
    let hidden = NewBlob { purpose: ".own".into(), ..new_blob() };
    let hidden = store.put(hidden, pieces(&bytes(3), 9)).await.unwrap();
    assert!(hidden.is_hidden() && store.find(&tenant(), hidden.id).await.unwrap().is_some());
    let own = BlobPage { purpose: Some(".own".into()), ..page(2) };
    assert_eq!(store.list(&tenant(), &own).await.unwrap().blobs, std::slice::from_ref(&hidden));
    assert!(store.delete(&tenant(), hidden.id).await.unwrap());
    assert!(store.list(&tenant(), &own).await.unwrap().blobs.is_empty());
    let list = async |page: BlobPage| {
        let list = store.list(&tenant(), &page).await.unwrap();
        let nth = |blob| put.iter().position(|known| known == blob).unwrap();
        (list.blobs.iter().map(nth).collect::<Vec<_>>(), list.has_more)
    };
    assert_eq!(list(page(3)).await, (vec![0, 1, 2], true));
    assert_eq!(list(page(7)).await, (vec![0, 1, 2, 3, 4, 5, 6], false));
    assert_eq!(list(BlobPage { after: Some(put[4].id), ..page(2) }).await, (vec![5, 6], false));
    let newest = BlobPage { order: BlobOrder::Newest, ..page(2) };
    assert_eq!(list(newest.clone()).await, (vec![6, 5], true));
    assert_eq!(list(BlobPage { after: Some(put[1].id), ..newest }).await, (vec![0], false));
    let vision = BlobPage { purpose: Some("vision".into()), ..page(2) };
    assert_eq!(list(vision.clone()).await, (vec![0, 3], true));
    // The cursor's blob need not exist any more.
    assert!(store.delete(&tenant(), put[3].id).await.unwrap());
    assert_eq!(list(BlobPage { after: Some(put[3].id), ..vision }).await, (vec![6], false));
    assert_eq!(list(page(0)).await, (vec![], true));
}

async fn a_deleted_blob_is_gone_with_its_bytes(on: Fixture) {
    let store = store(&on);
    let content = bytes(600_000);
    let put = store.put(new_blob(), pieces(&content, 100_000)).await.unwrap();
    assert_eq!(store.used(&tenant()).await.unwrap(), 600_000);
    assert_eq!(store.reap().await.unwrap(), 0, "nothing is due");
    assert!(store.delete(&tenant(), put.id).await.unwrap());
    assert!(!store.delete(&tenant(), put.id).await.unwrap(), "it was deleted before");
    assert!(store.find(&tenant(), put.id).await.unwrap().is_none());
    assert_eq!(store.used(&tenant()).await.unwrap(), 0);
    assert_eq!(store.reap().await.unwrap(), 1);
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn the_same_content_is_stored_once(on: Fixture) {
    let store = store(&on);
    let content = bytes(300_000);
    let put = async |tenant: TenantId| {
        store.put(NewBlob { tenant, ..new_blob() }, pieces(&content, 99_999)).await.unwrap()
    };
    let (first, second) = (put(tenant()).await, put(tenant()).await);
    assert_eq!((first.hash, first.size), (second.hash, second.size));
    assert_ne!(first.id, second.id);
    let other = put(TenantId::new("other")).await;
    assert_eq!(store.used(&tenant()).await.unwrap(), 600_000, "each counts towards the bound");
    assert_eq!(store.reap().await.unwrap(), 1, "what the second one wrote");
    let (bytes, _) = on.traces_of_blobs().await;
    assert_eq!(bytes.len(), 2, "tenants share nothing: {bytes:?}");
    // The last one that names the bytes takes them with it.
    store.delete(&tenant(), first.id).await.unwrap();
    assert_eq!(store.reap().await.unwrap(), 0);
    assert!(read(&store, second.id).await.unwrap() == content);
    let third = put(tenant()).await;
    store.delete(&tenant(), second.id).await.unwrap();
    assert_eq!(store.reap().await.unwrap(), 1, "what the third one wrote");
    assert!(read(&store, third.id).await.unwrap() == content);
    store.delete(&tenant(), third.id).await.unwrap();
    store.delete(&TenantId::new("other"), other.id).await.unwrap();
    assert_eq!(store.reap().await.unwrap(), 2);
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn a_blob_expires_unless_it_is_touched(on: Fixture) {
    let store = store(&on);
    let content = bytes(300_000);
    let new = || NewBlob { ttl: Some(LONG), ..new_blob() };
    let (left, touched) = (
        store.put(new(), pieces(&content, 50_000)).await.unwrap(),
        store.put(new(), pieces(&bytes(9), 9)).await.unwrap(),
    );
    let shared = store.put(new(), pieces(&content, 50_000)).await.unwrap();
    assert_eq!(left.expires_at, left.created_at + LONG);
    let kept = store.touch(&tenant(), touched.id, LONG * 10).await.unwrap().unwrap();
    assert!(kept.expires_at >= touched.created_at + LONG * 10);
    assert_eq!(kept.created_at, touched.created_at);
    let same = store.touch(&tenant(), touched.id, LONG).await.unwrap().unwrap();
    assert_eq!(same.expires_at, kept.expires_at, "never shorter");
    let kept = store.touch(&tenant(), shared.id, LONG * 3).await.unwrap();
    assert!(kept.is_some());
    on.age_blobs(LONG).await;
    assert!(store.find(&tenant(), left.id).await.unwrap().is_none(), "also before it is reaped");
    assert!(store.touch(&tenant(), left.id, LONG).await.unwrap().is_none());
    let listed = store.list(&tenant(), &page(9)).await.unwrap().blobs;
    assert_eq!(listed.iter().map(|blob| blob.id).collect::<Vec<_>>(), [touched.id, shared.id]);
    store.reap().await.unwrap();
    assert_eq!(store.used(&tenant()).await.unwrap(), 300_009);
    assert!(read(&store, shared.id).await.unwrap() == content, "another blob has these bytes");
    on.age_blobs(LONG * 10).await;
    store.reap().await.unwrap();
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn a_blob_is_bounded_while_it_is_read(on: Fixture) {
    let store = store_within(&on, BlobLimits { max_bytes: 1000, ..Default::default() });
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let endless = stream::repeat(bytes(100)).map(|piece| {
        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Infallible>(piece)
    });
    let refused = store.put(new_blob(), endless).await.unwrap_err();
    assert!(matches!(refused, BlobError::TooLarge { limit: 1000 }), "{refused}");
    assert_eq!(taken.into_inner(), 11, "not read any further");
    let announced = |bytes| NewBlob { announced: Some(bytes), ..new_blob() };
    let refused = store.put(announced(1001), pieces(&bytes(1), 1)).await.unwrap_err();
    assert!(matches!(refused, BlobError::TooLarge { limit: 1000 }), "{refused}");
    let refused = store.put(announced(10), pieces(&bytes(11), 11)).await.unwrap_err();
    assert!(matches!(refused, BlobError::Longer { announced: 10 }), "{refused}");
    store.put(announced(1000), pieces(&bytes(1000), 11)).await.unwrap();
    store.put(announced(10), pieces(&bytes(9), 11)).await.unwrap();
    assert_eq!(store.used(&tenant()).await.unwrap(), 1009, "what they did not use is free again");
}

async fn a_tenants_bytes_are_bounded(on: Fixture) {
    let limits = BlobLimits { max_bytes: 1000, tenant_bytes: 1500, ..Default::default() };
    let store = store_within(&on, limits);
    let first = store.put(new_blob(), pieces(&bytes(900), 100)).await.unwrap();
    let refused = store.put(new_blob(), pieces(&bytes(601), 100)).await.unwrap_err();
    assert!(matches!(refused, BlobError::TenantFull { held: 900, limit: 1500 }), "{refused}");
    let announced = |bytes| NewBlob { announced: Some(bytes), ..new_blob() };
    let refused = store.put(announced(601), pieces(&bytes(1), 1)).await.unwrap_err();
    assert!(matches!(refused, BlobError::TenantFull { held: 900, limit: 1500 }), "{refused}");
    let other = NewBlob { tenant: TenantId::new("other"), ..new_blob() };
    store.put(other, pieces(&bytes(1000), 100)).await.unwrap();
    // Uploads count while they run: the second one gets what the first one leaves.
    let (go, wait) = tokio::sync::oneshot::channel();
    let slow = stream::once(async move { Ok::<_, Infallible>(wait.await.unwrap()) });
    let running = store.clone();
    let running = tokio::spawn(async move { running.put(announced(500), slow).await });
    eventually("the upload has its room", async || store.used(&tenant()).await.unwrap() == 1400)
        .await;
    let refused = store.put(new_blob(), pieces(&bytes(101), 100)).await.unwrap_err();
    assert!(matches!(refused, BlobError::TenantFull { held: 1400, limit: 1500 }), "{refused}");
    store.put(new_blob(), pieces(&bytes(100), 100)).await.unwrap();
    go.send(bytes(500)).unwrap();
    running.await.unwrap().unwrap();
    let refused = store.put(new_blob(), pieces(&bytes(1), 1)).await.unwrap_err();
    assert!(matches!(refused, BlobError::TenantFull { held: 1500, limit: 1500 }), "{refused}");
    store.put(new_blob(), pieces(&bytes(0), 1)).await.unwrap_err();
    store.put(announced(0), pieces(&bytes(0), 1)).await.unwrap();
    store.delete(&tenant(), first.id).await.unwrap();
    store.put(new_blob(), pieces(&bytes(900), 100)).await.unwrap();
}

async fn nothing_remains_of_an_upload_that_fails(on: Fixture) {
    let limits = BlobLimits { upload_time: SHORT, ..Default::default() };
    let store = store_within(&on, limits);
    let part = bytes(600_000);
    let breaks = stream::iter([Ok(part.clone()), Err("the client left")]);
    let failed = store.put(new_blob(), breaks).await.unwrap_err();
    assert!(failed.to_string().contains("the client left"), "{failed}");
    let stalls = stream::iter([Ok::<_, Infallible>(part.clone())]).chain(stream::pending());
    let failed = store.put(new_blob(), stalls).await.unwrap_err();
    assert!(matches!(failed, BlobError::TooSlow(SHORT)), "{failed}");
    let stalls = stream::iter([Ok::<_, Infallible>(part)]).chain(stream::pending());
    let dropped = tokio::time::timeout(SHORT / 4, store.put(new_blob(), stalls)).await;
    assert!(dropped.is_err(), "it was dropped while it ran");
    eventually("the room is free", async || store.used(&tenant()).await.unwrap() == 0).await;
    assert_eq!(store.reap().await.unwrap(), 0, "writes may still be on their way");
    on.age_blobs(queue::ABANDONED_FOR).await;
    assert_eq!(store.reap().await.unwrap(), 3);
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn an_upload_that_was_abandoned_meanwhile_is_not_recorded(on: Fixture) {
    let store = store(&on);
    let (go, wait) = tokio::sync::oneshot::channel();
    let slow =
        stream::iter([bytes(600_000)]).chain(stream::once(async move { wait.await.unwrap() }));
    let running = store.clone();
    let slow = slow.map(Ok::<_, Infallible>);
    let running = tokio::spawn(async move { running.put(new_blob(), slow).await });
    eventually("bytes are there", async || !on.traces_of_blobs().await.0.is_empty()).await;
    on.age_blobs(Duration::from_secs(65 * 60)).await;
    assert_eq!(store.reap().await.unwrap(), 1);
    go.send(bytes(600_000)).unwrap();
    let failed = running.await.unwrap().unwrap_err();
    let is_gone = matches!(
        failed,
        BlobError::TooSlow(_)
            | BlobError::Store(BrokerError::Corrupt(_) | BrokerError::Unavailable { .. })
    );
    assert!(is_gone, "{failed}");
    on.age_blobs(queue::ABANDONED_FOR).await;
    store.reap().await.unwrap();
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn doomed_bytes_are_handed_out_once_until_their_span_is_over(on: Fixture) {
    let store = store(&on);
    for nth in 0..5 {
        let put = store.put(new_blob(), pieces(&bytes(nth + 1), 9)).await.unwrap();
        store.delete(&tenant(), put.id).await.unwrap();
    }
    let (one, two) = (on.broker.clone(), on.another());
    let first = one.reap_blobs(LONG, 100).await.unwrap();
    assert_eq!(first.len(), 5);
    assert_eq!(two.reap_blobs(LONG, 100).await.unwrap(), []);
    one.forget_blob_bytes(&first[..2]).await.unwrap();
    on.age_blobs(LONG).await;
    let again = two.reap_blobs(LONG, 100).await.unwrap();
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|blob| first[2..].contains(blob)));
}

async fn several_put_the_same_and_delete_it_at_once(on: Fixture) {
    let (one, two) = (store(&on), BlobStore::new(on.another(), BlobLimits::default()));
    let content = bytes(270_000);
    let busy = |store: BlobStore| {
        let content = content.clone();
        async move {
            for nth in 0..8 {
                let put = store.put(new_blob(), pieces(&content, 90_000)).await.unwrap();
                let found = store.find(&tenant(), put.id).await.unwrap().unwrap();
                assert!(collect(found.read()).await == content, "{nth}");
                store.delete(&tenant(), put.id).await.unwrap();
                store.reap().await.unwrap();
            }
        }
    };
    futures::future::join_all([one.clone(), two.clone(), one.clone(), two].map(busy)).await;
    one.reap().await.unwrap();
    assert_eq!(one.used(&tenant()).await.unwrap(), 0);
    assert_eq!(on.traces_of_blobs().await, Default::default());
}

async fn bytes_of_a_blob_are_not_abandoned(on: Fixture) {
    let store = store(&on);
    let upload = BlobUpload { place: BlobPlace::new(), tenant: tenant() };
    let (broker, content) = (&on.broker, bytes(9));
    let bytes = broker.own_bytes();
    let mut writer = bytes.writer(upload.place, LONG).await.unwrap();
    writer.write(content.clone()).await.unwrap();
    for _ in 0..2 {
        let reserved = broker.reserve_blob(&upload, Wanted::All(9), 10, LONG).await.unwrap();
        assert_eq!(reserved, Reserved::Granted(9), "repeated");
    }
    writer.finish(LONG * 2).await.unwrap();
    let record = BlobRecord {
        id: BlobId::new(),
        size: 9,
        hash: ContentHash([7; 32]),
        media_type: String::new(),
        filename: None,
        purpose: "vision".into(),
        ttl: LONG,
    };
    let first = broker.commit_blob(&upload, &record).await.unwrap().unwrap();
    let again = broker.commit_blob(&upload, &record).await.unwrap().unwrap();
    assert_eq!((first.filename.clone(), first), (None, again), "repeated");
    assert_eq!(store.used(&tenant()).await.unwrap(), 9);
    // The reply to the commit was lost, and its caller gave up.
    broker.abandon_blob(&upload).await.unwrap();
    on.age_blobs(queue::ABANDONED_FOR).await;
    assert_eq!(store.reap().await.unwrap(), 0);
    assert!(read(&store, record.id).await.unwrap() == content);
}

run_on_every_broker!(
    bytes_of_a_blob_are_not_abandoned,
    a_blob_is_read_as_it_was_put,
    a_part_is_read_from_anywhere_to_anywhere,
    blobs_are_listed_in_order_from_a_cursor,
    a_deleted_blob_is_gone_with_its_bytes,
    the_same_content_is_stored_once,
    a_blob_expires_unless_it_is_touched,
    a_blob_is_bounded_while_it_is_read,
    a_tenants_bytes_are_bounded,
    nothing_remains_of_an_upload_that_fails,
    an_upload_that_was_abandoned_meanwhile_is_not_recorded,
    doomed_bytes_are_handed_out_once_until_their_span_is_over,
    several_put_the_same_and_delete_it_at_once,
);
