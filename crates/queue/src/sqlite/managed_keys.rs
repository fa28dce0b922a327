//! Managed keys, in the table `api_keys`.

use async_trait::async_trait;
use protocol::{ApiKey, KeyId, TenantId, Timestamp};
use rusqlite::{OptionalExtension, Params, Row, params};

use super::SqliteBroker;
use super::column::{millis, unsigned};
use super::store::Tx;
use crate::stored::{KeyFields, record_of_key, text_is_taken};
use crate::{BrokerError, KeyHash, Keys, StoredKey};

/// The columns of [`read`].
const COLUMNS: &str = "record, owner, revision, created, used";

#[async_trait]
impl Keys for SqliteBroker {
    async fn keys_version(&self) -> Result<u64, BrokerError> {
        let work = |tx: &mut Tx<'_>| {
            let mut query = tx.sql.prepare_cached("SELECT version FROM api_keys_version")?;
            Ok(unsigned(query.query_row([], |row| row.get(0))?))
        };
        self.inner.store.run(work).await
    }

    async fn add_key(&self, hash: KeyHash, key: &ApiKey) -> Result<StoredKey, BrokerError> {
        let key = key.clone();
        self.inner.store.run(move |tx| add(tx, hash, &key, Timestamp::now())).await
    }

    async fn find_key(&self, hash: KeyHash) -> Result<Option<StoredKey>, BrokerError> {
        self.inner.store.run(move |tx| select(tx, "hash = ?1", [hash])).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        let id = id.clone();
        self.inner.store.run(move |tx| find(tx, &id)).await
    }

    async fn keys(
        &self,
        owner: Option<&TenantId>,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<StoredKey>, BrokerError> {
        let (owner, after) = (owner.cloned(), after.cloned());
        let work = move |tx: &mut Tx<'_>| list(tx, owner.as_ref(), after.as_ref(), limit);
        self.inner.store.run(work).await
    }

    async fn change_key(
        &self,
        revision: u64,
        key: &ApiKey,
        hash: Option<KeyHash>,
    ) -> Result<Option<StoredKey>, BrokerError> {
        let key = key.clone();
        self.inner.store.run(move |tx| change(tx, revision, &key, hash)).await
    }

    async fn revoke_key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        let id = id.clone();
        let work = move |tx: &mut Tx<'_>| {
            let found = find(tx, &id)?;
            if found.is_some() {
                tx.sql
                    .prepare_cached("DELETE FROM api_keys WHERE id = ?1")?
                    .execute([id.as_str()])?;
                count_change(tx)?;
            }
            Ok(found)
        };
        self.inner.store.run(work).await
    }

    async fn note_keys_used(&self, used: &[(KeyId, Timestamp)]) -> Result<(), BrokerError> {
        let used = used.to_vec();
        let work = move |tx: &mut Tx<'_>| {
            let mut note = tx.sql.prepare_cached(
                "UPDATE api_keys SET used = ?2 WHERE id = ?1 AND coalesce(used, 0) < ?2",
            )?;
            for (id, at) in used {
                note.execute(params![id.as_str(), millis(at)])?;
            }
            Ok(())
        };
        self.inner.store.run(work).await
    }

    async fn owner_secret(
        &self,
        owner: &TenantId,
        fresh: [u8; 32],
    ) -> Result<[u8; 32], BrokerError> {
        let owner = owner.clone();
        let work = move |tx: &mut Tx<'_>| {
            tx.sql
                .prepare_cached("INSERT OR IGNORE INTO owners (name, secret) VALUES (?1, ?2)")?
                .execute(params![owner.as_str(), fresh])?;
            let mut query = tx.sql.prepare_cached("SELECT secret FROM owners WHERE name = ?1")?;
            Ok(query.query_row([owner.as_str()], |row| row.get(0))?)
        };
        self.inner.store.run(work).await
    }
}

fn add(tx: &Tx<'_>, hash: KeyHash, key: &ApiKey, now: Timestamp) -> Result<StoredKey, BrokerError> {
    if let Some(known) = find(tx, &key.id)? {
        return Ok(known); // repeated
    }
    if holder(tx, hash)?.is_some() {
        return Err(text_is_taken(&key.id));
    }
    let fields = KeyFields {
        record: record_of_key(key)?,
        owner: key.owner.as_str().to_owned(),
        revision: 1,
        created: now.as_millis(),
        used: None,
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO api_keys (id, hash, owner, record, revision, created)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)",
        )?
        .execute(params![key.id.as_str(), hash, fields.owner, fields.record, millis(now)])?;
    count_change(tx)?;
    fields.read()
}

fn change(
    tx: &Tx<'_>,
    revision: u64,
    key: &ApiKey,
    hash: Option<KeyHash>,
) -> Result<Option<StoredKey>, BrokerError> {
    let id = key.id.as_str();
    let stored = tx
        .sql
        .prepare_cached("SELECT revision, record, hash FROM api_keys WHERE id = ?1")?
        .query_row([id], |row| {
            Ok((unsigned(row.get(0)?), row.get::<_, String>(1)?, row.get::<_, KeyHash>(2)?))
        })
        .optional()?;
    let Some((number, old, text)) = stored else { return Ok(None) };
    let (record, hash) = (record_of_key(key)?, hash.unwrap_or(text));
    // The reply to the same call may have been lost.
    if number == revision.saturating_add(1) && old == record && text == hash {
        return find(tx, &key.id);
    }
    if number != revision {
        return Ok(None);
    }
    if holder(tx, hash)?.is_some_and(|holder| holder != id) {
        return Err(text_is_taken(&key.id));
    }
    tx.sql
        .prepare_cached(
            "UPDATE api_keys SET record = ?2, hash = ?3, revision = revision + 1 WHERE id = ?1",
        )?
        .execute(params![id, record, hash])?;
    count_change(tx)?;
    find(tx, &key.id)
}

/// Tells readers that a key changed.
fn count_change(tx: &Tx<'_>) -> Result<(), BrokerError> {
    tx.sql.prepare_cached("UPDATE api_keys_version SET version = version + 1")?.execute([])?;
    Ok(())
}

/// Returns the id of the key that has this hash.
fn holder(tx: &Tx<'_>, hash: KeyHash) -> Result<Option<String>, BrokerError> {
    let mut query = tx.sql.prepare_cached("SELECT id FROM api_keys WHERE hash = ?1")?;
    Ok(query.query_row([hash], |row| row.get(0)).optional()?)
}

fn find(tx: &Tx<'_>, id: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
    select(tx, "id = ?1", [id.as_str()])
}

fn select(tx: &Tx<'_>, which: &str, of: impl Params) -> Result<Option<StoredKey>, BrokerError> {
    let query = format!("SELECT {COLUMNS} FROM api_keys WHERE {which}");
    let row = tx.sql.prepare_cached(&query)?.query_row(of, read).optional()?;
    row.map(KeyFields::read).transpose()
}

fn list(
    tx: &Tx<'_>,
    owner: Option<&TenantId>,
    after: Option<&KeyId>,
    limit: usize,
) -> Result<Vec<StoredKey>, BrokerError> {
    let of_owner = if owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM api_keys WHERE {of_owner} AND id > ?2 ORDER BY id LIMIT ?3"
    ))?;
    let of = params![
        owner.map(TenantId::as_str),
        after.map_or("", KeyId::as_str),
        i64::try_from(limit).unwrap_or(i64::MAX)
    ];
    query.query_map(of, read)?.map(|row| row?.read()).collect()
}

/// Reads a row of [`COLUMNS`].
fn read(row: &Row<'_>) -> rusqlite::Result<KeyFields> {
    Ok(KeyFields {
        record: row.get(0)?,
        owner: row.get(1)?,
        revision: unsigned(row.get(2)?),
        created: unsigned(row.get(3)?),
        used: row.get::<_, Option<i64>>(4)?.map(unsigned),
    })
}
