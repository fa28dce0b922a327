//! Locks the queue's folder for one process. SQLite itself would admit a second one, which would then
//! treat the first one's leases as those of a dead process.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::OpenError;

/// Creates the data folder if it does not exist, and locks it until the file is dropped or the process
/// ends: the operating system releases the lock even after a crash.
pub(super) fn take(data_dir: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::DataDir { path: data_dir.into(), source };
    fs::create_dir_all(data_dir).map_err(failed)?;
    let lock = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(data_dir.join("queue.lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: data_dir.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
