//! Maps SQLite's errors to errors of the contract.

use rusqlite::ErrorCode;

use crate::BrokerError;
use crate::contract::causes;

/// Classifies an error: `Unavailable` if it may be transient, `Corrupt` if it should never occur.
pub(super) fn broker_error(error: &rusqlite::Error) -> BrokerError {
    let reason = format!("the embedded queue: {error}");
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure,
        ) => BrokerError::Unavailable {
            reason: format!("the embedded queue: {} ({error})", causes::UNWRITABLE),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory) => {
            BrokerError::Unavailable { reason }
        }
        _ => BrokerError::Corrupt(reason),
    }
}

impl From<rusqlite::Error> for BrokerError {
    fn from(error: rusqlite::Error) -> Self {
        broker_error(&error)
    }
}
