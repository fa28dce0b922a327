//! The records of blobs. Their bytes are files in `blobs/` beside the database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{BlobId, TenantId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::SqliteBroker;
use super::column::{Key, instant, millis, unsigned};
use super::store::Tx;
use crate::{
    ABANDONED_FOR, Blob, BlobBytes, BlobList, BlobOrder, BlobPage, BlobPlace, BlobRecord,
    BlobUpload, Blobs, BrokerError, ContentHash, DoomedBlob, Folder, Reserved, Wanted,
};

/// The columns of [`read`].
const COLUMNS: &str =
    "id, tenant, place, size, hash, media_type, filename, purpose, created, expires";

#[async_trait]
impl Blobs for SqliteBroker {
    fn own_bytes(&self) -> Arc<dyn BlobBytes> {
        Arc::new(Folder::new(self.inner.data_dir.join("blobs")))
    }

    async fn reserve_blob(
        &self,
        upload: &BlobUpload,
        wanted: Wanted,
        tenant_bytes: u64,
        span: Duration,
    ) -> Result<Reserved, BrokerError> {
        let upload = upload.clone();
        let work = move |tx: &mut Tx<'_>| reserve(tx, &upload, wanted, tenant_bytes, span);
        self.inner.store.run(work).await
    }

    async fn abandon_blob(&self, upload: &BlobUpload) -> Result<(), BrokerError> {
        let upload = upload.clone();
        let work = move |tx: &mut Tx<'_>| abandon(tx, &upload, Timestamp::now() + ABANDONED_FOR);
        self.inner.store.run(work).await
    }

    async fn commit_blob(
        &self,
        upload: &BlobUpload,
        record: &BlobRecord,
    ) -> Result<Option<Blob>, BrokerError> {
        let (upload, record) = (upload.clone(), record.clone());
        self.inner.store.run(move |tx| commit(tx, &upload, &record, Timestamp::now())).await
    }

    async fn blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<(Blob, BlobPlace)>, BrokerError> {
        let tenant = tenant.clone();
        self.inner.store.run(move |tx| find(tx, &tenant, id, Timestamp::now())).await
    }

    async fn blobs(&self, tenant: &TenantId, page: &BlobPage) -> Result<BlobList, BrokerError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.inner.store.run(move |tx| list(tx, &tenant, &page, Timestamp::now())).await
    }

    async fn delete_blob(&self, tenant: &TenantId, id: BlobId) -> Result<bool, BrokerError> {
        let tenant = tenant.clone();
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            let found = find(tx, &tenant, id, now)?;
            found.as_ref().map_or(Ok(()), |(blob, place)| remove(tx, blob.id, *place, now))?;
            Ok(found.is_some())
        };
        self.inner.store.run(work).await
    }

    async fn touch_blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Result<Option<Blob>, BrokerError> {
        let tenant = tenant.clone();
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            tx.sql
                .prepare_cached(
                    "UPDATE blobs SET expires = max(expires, ?3)
                     WHERE id = ?1 AND tenant = ?2 AND expires > ?4",
                )?
                .execute(params![blob_key(id), tenant.as_str(), millis(now + ttl), millis(now)])?;
            Ok(find(tx, &tenant, id, now)?.map(|(blob, _)| blob))
        };
        self.inner.store.run(work).await
    }

    async fn blob_bytes(&self, tenant: &TenantId) -> Result<u64, BrokerError> {
        let tenant = tenant.clone();
        self.inner.store.run(move |tx| held(tx, &tenant)).await
    }

    async fn reap_blobs(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<DoomedBlob>, BrokerError> {
        self.inner.store.run(move |tx| reap(tx, span, limit, Timestamp::now())).await
    }

    async fn forget_blob_bytes(&self, doomed: &[DoomedBlob]) -> Result<(), BrokerError> {
        let places: Vec<Key> = doomed.iter().map(|blob| place_key(blob.place)).collect();
        let work = move |tx: &mut Tx<'_>| {
            let mut forget = tx.sql.prepare_cached("DELETE FROM doomed_blobs WHERE place = ?1")?;
            for place in places {
                forget.execute([place])?;
            }
            Ok(())
        };
        self.inner.store.run(work).await
    }
}

fn blob_key(id: BlobId) -> Key {
    id.as_uuid().into_bytes()
}

fn place_key(place: BlobPlace) -> Key {
    place.as_uuid().into_bytes()
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a row of [`COLUMNS`].
fn read(row: &Row<'_>) -> rusqlite::Result<(Blob, BlobPlace)> {
    let blob = Blob {
        id: Uuid::from_bytes(row.get(0)?).into(),
        tenant: TenantId::new(row.get::<_, String>(1)?),
        size: unsigned(row.get(3)?),
        hash: ContentHash(row.get(4)?),
        media_type: row.get(5)?,
        filename: row.get(6)?,
        purpose: row.get(7)?,
        created_at: instant(row.get(8)?),
        expires_at: instant(row.get(9)?),
    };
    Ok((blob, Uuid::from_bytes(row.get(2)?).into()))
}

/// Returns the bytes that count towards the tenant's bound.
fn held(tx: &Tx<'_>, tenant: &TenantId) -> Result<u64, BrokerError> {
    let sum: i64 = tx
        .sql
        .prepare_cached(
            "SELECT (SELECT coalesce(sum(size), 0) FROM blobs WHERE tenant = ?1)
                  + (SELECT coalesce(sum(reserved), 0) FROM blob_uploads WHERE tenant = ?1)",
        )?
        .query_row([tenant.as_str()], |row| row.get(0))?;
    Ok(unsigned(sum))
}

fn reserve(
    tx: &Tx<'_>,
    upload: &BlobUpload,
    wanted: Wanted,
    tenant_bytes: u64,
    span: Duration,
) -> Result<Reserved, BrokerError> {
    let known: Option<i64> = tx
        .sql
        .prepare_cached("SELECT reserved FROM blob_uploads WHERE place = ?1")?
        .query_row([place_key(upload.place)], |row| row.get(0))
        .optional()?;
    if let Some(granted) = known {
        return Ok(Reserved::Granted(unsigned(granted)));
    }
    let held = held(tx, &upload.tenant)?;
    let free = tenant_bytes.checked_sub(held);
    let granted = match (wanted, free) {
        (Wanted::All(bytes), Some(free)) if bytes <= free => bytes,
        (Wanted::UpTo(most), Some(free)) if free > 0 => most.min(free),
        _ => return Ok(Reserved::Full { held }),
    };
    tx.sql.prepare_cached("INSERT INTO blob_uploads VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        place_key(upload.place),
        upload.tenant.as_str(),
        stored(granted),
        millis(Timestamp::now() + span)
    ])?;
    Ok(Reserved::Granted(granted))
}

/// Ends an upload, if it is there, and dooms its bytes, unless a blob has them.
fn abandon(tx: &Tx<'_>, upload: &BlobUpload, due: Timestamp) -> Result<(), BrokerError> {
    end_upload(tx, upload.place)?;
    if !has_blob(tx, upload.place)? {
        doom(tx, upload.place, &upload.tenant, due)?;
    }
    Ok(())
}

/// Returns whether a record names the place.
fn has_blob(tx: &Tx<'_>, place: BlobPlace) -> Result<bool, BrokerError> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM blobs WHERE place = ?1)")?;
    Ok(query.query_row([place_key(place)], |row| row.get(0))?)
}

/// Deletes an upload's row, and returns whether it was there.
fn end_upload(tx: &Tx<'_>, place: BlobPlace) -> Result<bool, BrokerError> {
    let mut end = tx.sql.prepare_cached("DELETE FROM blob_uploads WHERE place = ?1")?;
    Ok(end.execute([place_key(place)])? == 1)
}

fn doom(
    tx: &Tx<'_>,
    place: BlobPlace,
    tenant: &TenantId,
    due: Timestamp,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached("INSERT OR REPLACE INTO doomed_blobs VALUES (?1, ?2, ?3)")?
        .execute(params![place_key(place), tenant.as_str(), millis(due)])?;
    Ok(())
}

fn commit(
    tx: &Tx<'_>,
    upload: &BlobUpload,
    record: &BlobRecord,
    now: Timestamp,
) -> Result<Option<Blob>, BrokerError> {
    let tenant = &upload.tenant;
    if let Some((blob, _)) = find(tx, tenant, record.id, now)? {
        return Ok(Some(blob)); // repeated
    }
    if !end_upload(tx, upload.place)? {
        return Ok(None);
    }
    let same: Option<Key> = tx
        .sql
        .prepare_cached(
            "SELECT place FROM blobs
             WHERE tenant = ?1 AND hash = ?2 AND size = ?3 AND expires > ?4 LIMIT 1",
        )?
        .query_row(
            params![tenant.as_str(), record.hash.0, stored(record.size), millis(now)],
            |row| row.get(0),
        )
        .optional()?;
    if same.is_some() {
        doom(tx, upload.place, tenant, now)?;
    }
    tx.sql
        .prepare_cached(&format!(
            "INSERT INTO blobs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute(params![
            blob_key(record.id),
            tenant.as_str(),
            same.unwrap_or(place_key(upload.place)),
            stored(record.size),
            record.hash.0,
            record.media_type,
            record.filename,
            record.purpose,
            millis(now),
            millis(now + record.ttl)
        ])?;
    Ok(find(tx, tenant, record.id, now)?.map(|(blob, _)| blob))
}

fn find(
    tx: &Tx<'_>,
    tenant: &TenantId,
    id: BlobId,
    now: Timestamp,
) -> Result<Option<(Blob, BlobPlace)>, BrokerError> {
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM blobs WHERE id = ?1 AND tenant = ?2 AND expires > ?3"
    ))?;
    Ok(query.query_row(params![blob_key(id), tenant.as_str(), millis(now)], read).optional()?)
}

fn list(
    tx: &Tx<'_>,
    tenant: &TenantId,
    page: &BlobPage,
    now: Timestamp,
) -> Result<BlobList, BrokerError> {
    let (order, mut after) = match page.order {
        BlobOrder::Oldest => ("id > ?2 ORDER BY id", [0; 16]),
        BlobOrder::Newest => ("id < ?2 ORDER BY id DESC", [0xFF; 16]),
    };
    if let Some(id) = page.after {
        after = blob_key(id);
    }
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM blobs
         WHERE tenant = ?1 AND expires > ?3
               AND (purpose = ?4 OR (?4 IS NULL AND purpose NOT LIKE '.%')) AND {order} LIMIT ?5"
    ))?;
    let limit = i64::try_from(page.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let of = params![tenant.as_str(), after, millis(now), page.purpose, limit];
    let found = query.query_map(of, |row| read(row).map(|(blob, _)| blob))?;
    let mut blobs = found.collect::<Result<Vec<_>, _>>()?;
    let has_more = blobs.len() > page.limit;
    blobs.truncate(page.limit);
    Ok(BlobList { blobs, has_more })
}

/// Deletes a record, and dooms its bytes if it was the last one that named them.
fn remove(tx: &Tx<'_>, id: BlobId, place: BlobPlace, now: Timestamp) -> Result<(), BrokerError> {
    let tenant: Option<String> = tx
        .sql
        .prepare_cached("DELETE FROM blobs WHERE id = ?1 RETURNING tenant")?
        .query_row([blob_key(id)], |row| row.get(0))
        .optional()?;
    match tenant {
        Some(tenant) if !has_blob(tx, place)? => doom(tx, place, &TenantId::new(tenant), now),
        _ => Ok(()),
    }
}

fn reap(
    tx: &Tx<'_>,
    span: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<DoomedBlob>, BrokerError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let expired = tx
        .sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM blobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2"
        ))?
        .query_map(params![millis(now), most], read)?
        .collect::<Result<Vec<_>, _>>()?;
    for (blob, place) in expired {
        remove(tx, blob.id, place, now)?;
    }
    let dead =
        "SELECT place, tenant FROM blob_uploads WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    for upload in places(tx, dead, now, most)? {
        abandon(tx, &upload, now)?;
    }
    let due = "SELECT place, tenant FROM doomed_blobs WHERE due <= ?1 ORDER BY due LIMIT ?2";
    let mut doomed = Vec::new();
    for BlobUpload { place, tenant } in places(tx, due, now, most)? {
        doom(tx, place, &tenant, now + span)?;
        doomed.push(DoomedBlob { place, tenant });
    }
    Ok(doomed)
}

fn places(
    tx: &Tx<'_>,
    query: &str,
    now: Timestamp,
    most: i64,
) -> Result<Vec<BlobUpload>, BrokerError> {
    let mut query = tx.sql.prepare_cached(query)?;
    let rows = query.query_map(params![millis(now), most], |row| {
        Ok(BlobUpload {
            place: Uuid::from_bytes(row.get(0)?).into(),
            tenant: TenantId::new(row.get::<_, String>(1)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes the uploads of the process that had the file open before due: it is gone.
pub(super) fn recover(tx: &Tx<'_>) -> Result<(), BrokerError> {
    tx.sql.execute("UPDATE blob_uploads SET expires = 0", [])?;
    Ok(())
}
