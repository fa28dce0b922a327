//! Results for later tasks.

use std::time::Duration;

use protocol::TenantId;
use queue::{Broker, ContentHash, RESULT_OVERHEAD, ResultCacheSize};

use crate::support::*;

const ROOM: u64 = 1 << 20;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name)
}

fn key(number: u8) -> ContentHash {
    ContentHash([number; 32])
}

/// Returns a text that takes `bytes` of the bound.
fn text(bytes: u64) -> String {
    "x".repeat((bytes - RESULT_OVERHEAD) as usize)
}

async fn store(broker: &dyn Broker, owner: &str, number: u8, text: &str, most: u64) {
    broker.cache_result(&tenant(owner), key(number), text, LONG, most).await.unwrap();
}

async fn found(broker: &dyn Broker, owner: &str, number: u8) -> Option<String> {
    broker.cached_result(&tenant(owner), key(number)).await.unwrap()
}

/// Returns which of the numbers below 10 a tenant has.
async fn kept(broker: &dyn Broker, owner: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    for number in 0..10 {
        if found(broker, owner, number).await.is_some() {
            kept.push(number);
        }
    }
    kept
}

async fn size(broker: &dyn Broker) -> (u64, u64) {
    let ResultCacheSize { entries, bytes } = broker.result_cache_size().await.unwrap();
    (entries, bytes)
}

async fn a_result_is_found_by_its_tenant_and_key_only(on: Fixture) {
    let broker = on.broker.clone();
    assert_eq!(size(&*broker).await, (0, 0));
    assert_eq!(found(&*broker, "a", 1).await, None);
    let text = "{\"answer\": \"ünïcode 🦀\"}\n";
    store(&*broker, "a", 1, text, ROOM).await;
    assert_eq!(found(&*broker, "a", 1).await.as_deref(), Some(text));
    assert_eq!(found(&*on.another(), "a", 1).await.as_deref(), Some(text), "another process");
    assert_eq!(found(&*broker, "a", 2).await, None);
    for other in ["b", "", "a ", "a b", "A"] {
        assert_eq!(found(&*broker, other, 1).await, None, "{other:?}");
    }
    store(&*broker, "b", 1, "of b", ROOM).await;
    assert_eq!(found(&*broker, "a", 1).await.as_deref(), Some(text));
    assert_eq!(found(&*broker, "b", 1).await.as_deref(), Some("of b"));
}

async fn a_later_result_takes_the_place_of_the_earlier(on: Fixture) {
    let broker = on.broker;
    store(&*broker, "a", 1, "first", ROOM).await;
    store(&*broker, "a", 1, "second one", ROOM).await;
    assert_eq!(found(&*broker, "a", 1).await.as_deref(), Some("second one"));
    assert_eq!(size(&*broker).await, (1, RESULT_OVERHEAD + 10));
}

async fn a_result_expires(on: Fixture) {
    let broker = on.broker;
    let short = Duration::from_millis(600);
    broker.cache_result(&tenant("a"), key(1), "soon gone", short, ROOM).await.unwrap();
    store(&*broker, "a", 2, "stays", ROOM).await;
    assert!(found(&*broker, "a", 1).await.is_some());
    tokio::time::sleep(short + Duration::from_millis(50)).await;
    assert_eq!(kept(&*broker, "a").await, [2]);
    assert_eq!(size(&*broker).await, (1, RESULT_OVERHEAD + 5), "its room is free again");
}

async fn bytes_are_bounded_and_the_oldest_is_evicted(on: Fixture) {
    let broker = on.broker;
    let (third, most) = (text(1_000), 3_000);
    for number in 0..4 {
        store(&*broker, "a", number, &third, most).await;
        tokio::time::sleep(Duration::from_millis(3)).await; // clocks tell milliseconds
        assert!(size(&*broker).await.1 <= most);
    }
    assert_eq!(kept(&*broker, "a").await, [1, 2, 3]);
    // A larger one evicts as many as it needs.
    store(&*broker, "a", 4, &text(1_500), most).await;
    assert_eq!(kept(&*broker, "a").await, [3, 4]);
    assert_eq!(size(&*broker).await, (2, 2_500));
    // One that is too large alone evicts none.
    store(&*broker, "a", 5, &text(3_001), most).await;
    assert_eq!(kept(&*broker, "a").await, [3, 4]);
    // A smaller bound, as after a change of the settings.
    store(&*broker, "a", 6, &third, 1_000).await;
    assert_eq!(kept(&*broker, "a").await, [6]);
}

async fn a_tenant_with_many_results_evicts_its_own(on: Fixture) {
    let broker = on.broker;
    let (quarter, most) = (text(1_000), 4_000);
    store(&*broker, "small", 0, &quarter, most).await;
    for number in 1..9 {
        tokio::time::sleep(Duration::from_millis(3)).await;
        store(&*broker, "large", number, &quarter, most).await;
    }
    assert_eq!(kept(&*broker, "small").await, [0], "although it is the oldest");
    assert_eq!(kept(&*broker, "large").await, [6, 7, 8]);
    // A tenant that has less takes room from the one that has the most.
    tokio::time::sleep(Duration::from_millis(3)).await;
    store(&*broker, "small", 1, &quarter, most).await;
    assert_eq!(kept(&*broker, "small").await, [0, 1]);
    assert_eq!(kept(&*broker, "large").await, [7, 8]);
}

async fn concurrent_stores_keep_the_count(on: Fixture) {
    let (broker, most) = (on.broker.clone(), 20_000);
    let others = [on.another(), on.another()];
    let stores = (0..60_u8).map(|number| {
        let broker = &others[usize::from(number % 2)];
        let text = text(400 + 100 * u64::from(number % 7));
        async move {
            store(&**broker, ["a", "b", "c"][usize::from(number % 3)], number, &text, most).await
        }
    });
    futures::future::join_all(stores).await;
    let mut sum = 0;
    let mut count = 0;
    for number in 0..60 {
        for owner in ["a", "b", "c"] {
            if let Some(text) = found(&*broker, owner, number).await {
                sum += text.len() as u64 + RESULT_OVERHEAD;
                count += 1;
            }
        }
    }
    assert_eq!(size(&*broker).await, (count, sum));
    assert!(sum <= most && count > 5, "{count} with {sum} bytes");
}

run_on_every_broker! {
    a_result_is_found_by_its_tenant_and_key_only,
    a_later_result_takes_the_place_of_the_earlier,
    a_result_expires,
    bytes_are_bounded_and_the_oldest_is_evicted,
    a_tenant_with_many_results_evicts_its_own,
    concurrent_stores_keep_the_count,
}
