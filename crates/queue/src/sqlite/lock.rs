//! One process per queue file. SQLite itself would let a second one in, which would then take the
//! leases of the first for those of the dead.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::OpenError;

/// Creates the data folder if need be, and locks it until the file is dropped (or the process dies,
/// however it dies: the system keeps the lock).
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
