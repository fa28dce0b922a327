//! Managed keys: found by the hash of their text, changed from the revision that was read, and gone at once when
//! revoked.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use protocol::{ApiKey, KeyId, KeyLimits, Lane, ModelId, Scope, TenantId, Timestamp};
use queue::{Broker, KeyHash, StoredKey};
use sha2::{Digest, Sha256};

use crate::support::*;

fn owner() -> TenantId {
    TenantId::new("owner with blanks")
}

pub(crate) fn key() -> ApiKey {
    ApiKey {
        id: KeyId::new(),
        prefix: "qq-abcd".into(),
        name: "nightly \"ünïcode\" 🦀".into(),
        owner: owner(),
        scopes: BTreeSet::from([Scope::Submit, Scope::Admin]),
        models: BTreeSet::from([model(), ModelId::new("Qwen/Qwen3-4B-GGUF:Q4_K_M")]),
        limits: KeyLimits {
            requests_per_minute: Some(60),
            tokens_per_day: Some(u64::from(u32::MAX) * 1_000),
            ..KeyLimits::default()
        },
        highest_lane: Lane::Low,
        expires_at: Some(Timestamp::from_millis(4_102_444_800_000)),
        blocked: false,
        created_at: Timestamp::from_millis(7),
        last_used_at: None,
        metadata: BTreeMap::from([("order".to_owned(), "7 \"a\"\n".to_owned())]),
    }
}

/// The text of a key, as a client would send it.
fn text_of(key: &ApiKey) -> String {
    format!("qq-secret-text-of-{}", key.id)
}

pub(crate) fn hash(text: &str) -> KeyHash {
    Sha256::digest(text).into()
}

/// Adds a key, and returns it as it is stored.
async fn added(broker: &dyn Broker, key: &ApiKey) -> ApiKey {
    broker.add_key(hash(&text_of(key)), key).await.unwrap().key
}

async fn find(broker: &dyn Broker, text: &str) -> Option<StoredKey> {
    broker.find_key(hash(text)).await.unwrap()
}

async fn a_key_is_found_by_its_text_and_its_id(on: Fixture) {
    let (broker, key) = (&*on.broker, key());
    let text = text_of(&key);
    assert_eq!(find(broker, &text).await, None);
    assert_eq!(broker.key(&key.id).await.unwrap(), None);
    let before = Timestamp::now();
    let stored = broker.add_key(hash(&text), &key).await.unwrap();
    let at = stored.key.created_at;
    assert!(at.as_millis().abs_diff(before.as_millis()) < 60_000, "the broker's time: {at:?}");
    assert_eq!(stored, StoredKey { key: ApiKey { created_at: at, ..key.clone() }, revision: 1 });
    assert_eq!(find(broker, &text).await.as_ref(), Some(&stored));
    assert_eq!(broker.key(&key.id).await.unwrap().as_ref(), Some(&stored));
    assert_eq!(find(broker, "another text").await, None);

    // The reply was lost.
    let version = broker.keys_version().await.unwrap();
    let other = ApiKey { name: "ignored".into(), ..key.clone() };
    assert_eq!(broker.add_key(hash(&text), &other).await.unwrap(), stored);
    assert_eq!(broker.keys_version().await.unwrap(), version);

    // Two keys never have one text.
    let twin = ApiKey { id: KeyId::new(), ..key };
    assert!(broker.add_key(hash(&text), &twin).await.is_err());
    assert_eq!(broker.key(&twin.id).await.unwrap(), None);
    assert_eq!(find(broker, &text).await, Some(stored));
}

async fn of_two_changes_from_one_revision_one_is_made(on: Fixture) {
    let brokers = [on.another(), on.another()];
    let (broker, key) = (&*on.broker, key());
    let mut stored = broker.add_key(hash(&text_of(&key)), &key).await.unwrap();
    for round in 0..8 {
        let changes = [0, 1].map(|which| ApiKey {
            name: format!("{round} by {which}"),
            blocked: round % 2 == 0,
            limits: KeyLimits { max_in_flight: Some(round), ..KeyLimits::default() },
            // Of these the stored ones are kept.
            created_at: Timestamp::from_millis(1),
            last_used_at: Some(Timestamp::from_millis(2)),
            ..stored.key.clone()
        });
        let made = join_all(
            brokers.iter().zip(&changes).map(|(on, to)| on.change_key(stored.revision, to, None)),
        )
        .await;
        let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
        assert!(made[0].is_some() ^ made[1].is_some(), "{made:?}");
        let which = usize::from(made[1].is_some());
        let expected = StoredKey {
            key: ApiKey {
                created_at: stored.key.created_at,
                last_used_at: None,
                ..changes[which].clone()
            },
            revision: stored.revision + 1,
        };
        assert_eq!(made[which].as_ref(), Some(&expected));
        assert_eq!(broker.key(&key.id).await.unwrap().as_ref(), Some(&expected));
        assert_eq!(find(broker, &text_of(&key)).await.as_ref(), Some(&expected));

        // The reply was lost: the call is repeated.
        let version = broker.keys_version().await.unwrap();
        let again = broker.change_key(stored.revision, &changes[which], None).await.unwrap();
        assert_eq!(again.as_ref(), Some(&expected));
        assert_eq!(broker.keys_version().await.unwrap(), version);
        stored = expected;
    }
    let stranger = ApiKey { id: KeyId::new(), ..key };
    for revision in [0, 1, u64::from(u32::MAX)] {
        assert_eq!(broker.change_key(revision, &stranger, None).await.unwrap(), None);
    }
    assert_eq!(broker.key(&stranger.id).await.unwrap(), None);
}

async fn a_replaced_text_finds_nothing_at_once(on: Fixture) {
    let (broker, key) = (&*on.broker, key());
    let (old, new) = (text_of(&key), "qq-another-text");
    let stored = broker.add_key(hash(&old), &key).await.unwrap();
    let rotated = broker.change_key(1, &stored.key, Some(hash(new))).await.unwrap().unwrap();
    assert_eq!(rotated, StoredKey { revision: 2, ..stored.clone() });
    assert_eq!(on.another().find_key(hash(&old)).await.unwrap(), None);
    assert_eq!(find(broker, new).await.as_ref(), Some(&rotated));
    // The reply was lost; then one who has not read the key since.
    let again = broker.change_key(1, &stored.key, Some(hash(new))).await.unwrap();
    assert_eq!(again.as_ref(), Some(&rotated));
    assert_eq!(broker.change_key(1, &stored.key, Some(hash("late"))).await.unwrap(), None);
    assert_eq!(find(broker, "late").await, None);

    // The text of another key.
    let other = added(broker, &self::key()).await;
    assert!(broker.change_key(2, &stored.key, Some(hash(&text_of(&other)))).await.is_err());
    assert_eq!(find(broker, &text_of(&other)).await.unwrap().key, other);
    assert_eq!(find(broker, new).await, Some(rotated));
    // The former text is free.
    let reused = ApiKey { id: KeyId::new(), ..key };
    broker.add_key(hash(&old), &reused).await.unwrap();
    assert_eq!(find(broker, &old).await.unwrap().key.id, reused.id);
}

async fn a_revoked_key_is_gone_at_once(on: Fixture) {
    let (broker, key) = (&*on.broker, added(&*on.broker, &key()).await);
    let other = added(broker, &self::key()).await;
    broker.note_keys_used(&[(key.id.clone(), Timestamp::from_millis(9))]).await.unwrap();
    let revoked = broker.revoke_key(&key.id).await.unwrap().unwrap();
    let used = ApiKey { last_used_at: Some(Timestamp::from_millis(9)), ..key.clone() };
    assert_eq!(revoked, StoredKey { key: used, revision: 1 });
    let reader = on.another();
    assert_eq!(find(&*reader, &text_of(&key)).await, None);
    assert_eq!(reader.key(&key.id).await.unwrap(), None);
    assert_eq!(reader.change_key(1, &key, None).await.unwrap(), None);
    for of in [None, Some(&owner())] {
        let left = reader.keys(of, None, 9).await.unwrap();
        assert_eq!(
            left.into_iter().map(|stored| stored.key).collect::<Vec<_>>(),
            std::slice::from_ref(&other)
        );
    }
    assert_eq!(reader.revoke_key(&key.id).await.unwrap(), None, "repeated");
    assert!(!on.holds(key.id.as_str()).await, "nothing of it is left");
}

async fn keys_are_listed_by_owner_in_order_of_creation(on: Fixture) {
    let broker = &*on.broker;
    assert!(broker.keys(None, None, 9).await.unwrap().is_empty());
    let mut all = Vec::new();
    for nth in 0..6 {
        let of = if nth % 3 == 2 { TenantId::new("other") } else { owner() };
        all.push(added(broker, &ApiKey { owner: of, ..key() }).await);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let other = TenantId::new("other");
    let nobody = [TenantId::new("nobody"), TenantId::new("")];
    let of = |owner: &TenantId| -> Vec<_> {
        all.iter().filter(|key| key.owner == *owner).cloned().collect()
    };
    let gone = KeyId::from_text(format!("{}0", all[2].id));
    for (owner, after, limit, expected) in [
        (None, None, 9, &all[..]),
        (None, None, 2, &all[..2]),
        (None, Some(&all[1].id), 3, &all[2..5]),
        (None, Some(&gone), 9, &all[3..]),
        (None, Some(&all[5].id), 9, &[]),
        (None, None, 0, &[]),
        (Some(&owner()), None, 9, &of(&owner())),
        (Some(&owner()), Some(&all[1].id), 1, &all[3..4]),
        (Some(&other), None, 9, &[all[2].clone(), all[5].clone()]),
        (Some(&other), Some(&all[2].id), 9, &all[5..]),
        (Some(&nobody[0]), None, 9, &[]),
        (Some(&nobody[1]), None, 9, &[]),
    ] {
        let found = broker.keys(owner, after, limit).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|stored| stored.key).collect();
        assert_eq!(found, expected, "of {owner:?} after {after:?}, {limit}");
    }
}

async fn every_change_and_nothing_else_increments_the_version(on: Fixture) {
    let (broker, key) = (&*on.broker, key());
    let text = text_of(&key);
    let mut version = broker.keys_version().await.unwrap();
    let reader = on.another();
    let mut grew = async |what: &str, by: u64| {
        let now = reader.keys_version().await.unwrap();
        assert_eq!(now - version, by, "{what}");
        version = now;
    };
    broker.add_key(hash(&text), &key).await.unwrap();
    grew("added", 1).await;
    find(broker, &text).await.unwrap();
    broker.key(&key.id).await.unwrap();
    broker.keys(None, None, 9).await.unwrap();
    broker.note_keys_used(&[(key.id.clone(), Timestamp::from_millis(5))]).await.unwrap();
    broker.owner_secret(&owner(), [7; 32]).await.unwrap();
    grew("read, used", 0).await;
    broker.change_key(1, &key, None).await.unwrap().unwrap();
    grew("changed", 1).await;
    broker.change_key(7, &key, None).await.unwrap();
    grew("not changed", 0).await;
    broker.change_key(2, &key, Some(hash("other"))).await.unwrap().unwrap();
    grew("rotated", 1).await;
    broker.revoke_key(&key.id).await.unwrap().unwrap();
    grew("revoked", 1).await;
    broker.revoke_key(&key.id).await.unwrap();
    grew("revoked again", 0).await;
}

async fn the_latest_use_is_kept_and_changes_no_record(on: Fixture) {
    let (broker, at) = (&*on.broker, Timestamp::from_millis);
    let (one, two) = (added(broker, &key()).await, added(broker, &key()).await);
    let unknown = KeyId::new();
    let noted = [(one.id.clone(), at(900)), (unknown.clone(), at(5)), (two.id.clone(), at(10_000))];
    broker.note_keys_used(&noted).await.unwrap();
    broker.note_keys_used(&[]).await.unwrap();
    // Another gateway is behind, or its clock is.
    let noted = [(one.id.clone(), at(899)), (one.id.clone(), at(1_000)), (two.id.clone(), at(9))];
    on.another().note_keys_used(&noted).await.unwrap();
    for (key, used) in [(&one, 1_000), (&two, 10_000)] {
        let used = ApiKey { last_used_at: Some(at(used)), ..key.clone() };
        let expected = StoredKey { key: used, revision: 1 };
        assert_eq!(broker.key(&key.id).await.unwrap().as_ref(), Some(&expected));
        assert_eq!(find(broker, &text_of(key)).await.as_ref(), Some(&expected));
        let changed = broker.change_key(1, key, None).await.unwrap().unwrap();
        assert_eq!(changed, StoredKey { revision: 2, ..expected });
    }
    assert_eq!(broker.key(&unknown).await.unwrap(), None);
    assert_eq!(broker.keys(None, None, 9).await.unwrap().len(), 2);

    // More than one call takes.
    let many: Vec<_> = (0..1_200)
        .map(|nth| (if nth == 1_199 { one.id.clone() } else { KeyId::new() }, at(2_000 + nth)))
        .collect();
    broker.note_keys_used(&many).await.unwrap();
    let used = broker.key(&one.id).await.unwrap().unwrap().key.last_used_at;
    assert_eq!(used, Some(at(3_199)));
}

async fn all_get_the_same_secret_of_an_owner(on: Fixture) {
    let brokers: Vec<_> = (0..4).map(|_| on.another()).collect();
    let calls = (0..32u8).map(|nth| {
        let broker = &brokers[usize::from(nth) % brokers.len()];
        async move { broker.owner_secret(&owner(), [nth; 32]).await.unwrap() }
    });
    let secrets = join_all(calls).await;
    assert!(secrets.iter().all(|secret| secret == &secrets[0]), "{secrets:?}");
    assert!((0..32u8).any(|nth| secrets[0] == [nth; 32]), "{secrets:?}");
    let other = on.broker.owner_secret(&TenantId::new("other"), [99; 32]).await.unwrap();
    assert_eq!(other, [99; 32]);
    let key = added(&*on.broker, &key()).await;
    on.broker.revoke_key(&key.id).await.unwrap();
    let again = on.broker.owner_secret(&owner(), [98; 32]).await.unwrap();
    assert_eq!(again, secrets[0], "it outlives the keys");
}

async fn no_text_of_a_key_is_stored(on: Fixture) {
    let key = added(&*on.broker, &key()).await;
    assert!(on.holds(key.id.as_str()).await, "a test that can't fail");
    assert!(!on.holds(&text_of(&key)).await);
    on.broker.change_key(1, &key, Some(hash("qq-another-text"))).await.unwrap().unwrap();
    assert!(!on.holds("qq-another-text").await);
}

/// What a store must keep when it is closed.
pub(crate) struct Kept {
    text: String,
    pub(crate) stored: StoredKey,
    secret: [u8; 32],
    version: u64,
}

/// Stores a key that was changed and used, and a secret.
pub(crate) async fn keep_keys(broker: &dyn Broker) -> Kept {
    let key = added(broker, &key()).await;
    broker.change_key(1, &ApiKey { blocked: true, ..key.clone() }, None).await.unwrap().unwrap();
    broker.note_keys_used(&[(key.id.clone(), Timestamp::from_millis(77))]).await.unwrap();
    let text = text_of(&key);
    Kept {
        stored: find(broker, &text).await.unwrap(),
        text,
        secret: broker.owner_secret(&owner(), [5; 32]).await.unwrap(),
        version: broker.keys_version().await.unwrap(),
    }
}

impl Kept {
    pub(crate) async fn are_in(&self, broker: &dyn Broker) {
        assert!(self.stored.key.blocked && self.stored.key.last_used_at.is_some());
        assert_eq!(find(broker, &self.text).await.as_ref(), Some(&self.stored));
        assert_eq!(broker.keys(None, None, 9).await.unwrap(), std::slice::from_ref(&self.stored));
        assert_eq!(broker.owner_secret(&owner(), [6; 32]).await.unwrap(), self.secret);
        assert_eq!(broker.keys_version().await.unwrap(), self.version);
    }
}

run_on_every_broker!(
    a_key_is_found_by_its_text_and_its_id,
    of_two_changes_from_one_revision_one_is_made,
    a_replaced_text_finds_nothing_at_once,
    a_revoked_key_is_gone_at_once,
    keys_are_listed_by_owner_in_order_of_creation,
    every_change_and_nothing_else_increments_the_version,
    the_latest_use_is_kept_and_changes_no_record,
    all_get_the_same_secret_of_an_owner,
    no_text_of_a_key_is_stored,
);
