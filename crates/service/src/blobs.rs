//! Opens the blob store that the settings name, and keeps it clean.

use std::sync::Arc;
use std::time::Duration;

use queue::{BlobLimits, BlobStore, Broker, Folder, OpenError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::settings::{BlobLocation, Settings};

/// The interval of reaps.
const BEAT: Duration = Duration::from_secs(5);

/// Opens the blob store. Nothing is created or contacted before the first upload.
///
/// # Errors
/// If the object store's address or credentials are invalid.
pub fn open(settings: &Settings, broker: &Arc<dyn Broker>) -> Result<BlobStore, OpenError> {
    let limits = BlobLimits {
        max_bytes: settings.max_blob_bytes,
        tenant_bytes: settings.max_tenant_blob_bytes,
        ttl: settings.blob_ttl,
        ..BlobLimits::default()
    };
    let store = BlobStore::new(broker.clone(), limits);
    Ok(match &settings.blob_location {
        BlobLocation::Own => store,
        BlobLocation::Folder(path) => store.with_bytes(Arc::new(Folder::new(path))),
        BlobLocation::ObjectStore(url) => store.with_bytes(queue::object_store(url)?),
    })
}

/// Deletes expired blobs, and the bytes of deleted blobs and of uploads that ended without a record, until
/// `shutdown`.
pub(crate) async fn reap(blobs: &BlobStore, shutdown: &CancellationToken) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        match blobs.reap().await {
            Ok(0) => {}
            Ok(count) => {
                tracing::debug!(target: "service.blobs", "deleted the bytes of {count} blobs");
            }
            // Operations that need the store more urgently report that it is unavailable.
            Err(error) => tracing::debug!(target: "service.blobs", "not reaped: {error}"),
        }
    }
}
