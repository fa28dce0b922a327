//! Results for later tasks. Triggers count the bytes of each tenant's.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{TenantId, Timestamp};
use rusqlite::{OptionalExtension, named_params, params};

use super::column::millis;
use super::{SqliteBroker, Tx};
use crate::{BrokerError, ContentHash, RESULT_OVERHEAD, ResultCache, ResultCacheSize};

#[async_trait]
impl ResultCache for SqliteBroker {
    async fn cached_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
    ) -> Result<Option<String>, BrokerError> {
        let tenant = tenant.clone();
        let work = move |tx: &mut Tx<'_>| {
            let found = tx
                .sql
                .prepare_cached(
                    "SELECT text FROM results WHERE tenant = ?1 AND key = ?2 AND expires > ?3",
                )?
                .query_row(params![tenant.as_str(), key.0, millis(Timestamp::now())], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok(found)
        };
        self.inner.store.run(work).await
    }

    async fn cache_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
        text: &str,
        ttl: Duration,
        max_bytes: u64,
    ) -> Result<(), BrokerError> {
        let bytes = text.len() as u64 + RESULT_OVERHEAD;
        if bytes > max_bytes {
            return Ok(());
        }
        let (tenant, text) = (tenant.clone(), text.to_owned());
        let (bytes, most) = (bytes.cast_signed(), i64::try_from(max_bytes).unwrap_or(i64::MAX));
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            delete_expired(tx, now)?;
            tx.sql
                .prepare_cached("DELETE FROM results WHERE tenant = ?1 AND key = ?2")?
                .execute(params![tenant.as_str(), key.0])?;
            while held(tx)? + bytes > most && evict(tx)? {}
            tx.sql
                .prepare_cached(
                    "INSERT INTO results (tenant, key, text, bytes, expires)
                     VALUES (:tenant, :key, :text, :bytes, :expires)",
                )?
                .execute(named_params! {
                    ":tenant": tenant.as_str(),
                    ":key": key.0,
                    ":text": text,
                    ":bytes": bytes,
                    ":expires": millis(now + ttl),
                })?;
            Ok(())
        };
        self.inner.store.run(work).await
    }

    async fn result_cache_size(&self) -> Result<ResultCacheSize, BrokerError> {
        let work = |tx: &mut Tx<'_>| {
            delete_expired(tx, Timestamp::now())?;
            let count = "SELECT count(*) FROM results";
            let entries: i64 = tx.sql.prepare_cached(count)?.query_row([], |row| row.get(0))?;
            let number = |stored: i64| u64::try_from(stored).unwrap_or(0);
            Ok(ResultCacheSize { entries: number(entries), bytes: number(held(tx)?) })
        };
        self.inner.store.run(work).await
    }
}

fn delete_expired(tx: &Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    tx.sql.prepare_cached("DELETE FROM results WHERE expires <= ?1")?.execute([millis(now)])?;
    Ok(())
}

/// Returns the bytes of all results.
fn held(tx: &Tx<'_>) -> Result<i64, BrokerError> {
    let sum = "SELECT coalesce(sum(bytes), 0) FROM results_held";
    Ok(tx.sql.prepare_cached(sum)?.query_row([], |row| row.get(0))?)
}

/// Deletes the result that expires first, of the tenant that has the most bytes. Returns whether there was one.
fn evict(tx: &Tx<'_>) -> Result<bool, BrokerError> {
    let first = "DELETE FROM results WHERE rowid = (
                     SELECT rowid FROM results
                     WHERE tenant = (SELECT tenant FROM results_held ORDER BY bytes DESC LIMIT 1)
                     ORDER BY expires LIMIT 1)";
    Ok(tx.sql.prepare_cached(first)?.execute([])? > 0)
}
