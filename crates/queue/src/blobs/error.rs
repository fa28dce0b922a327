//! The errors of reading and writing a blob.

use std::time::Duration;

use crate::BrokerError;

/// Why a blob was not stored, or can't be read so.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It has more bytes than a blob may have.
    #[error("the file has more than {limit} bytes, which is the most that is allowed")]
    TooLarge {
        /// The bytes allowed.
        limit: u64,
    },
    /// It has more bytes than were announced.
    #[error("the file has more than the {announced} bytes that were announced")]
    Longer {
        /// The bytes announced.
        announced: u64,
    },
    /// The tenant has too many bytes.
    #[error(
        "the stored files would have more than {limit} bytes together, which is the most that is allowed \
         ({held} are stored): delete some"
    )]
    TenantFull {
        /// The bytes of the tenant's blobs and other uploads.
        held: u64,
        /// The bytes allowed.
        limit: u64,
    },
    /// The upload took too long.
    #[error("the upload took longer than {} s, which is the longest that is allowed", .0.as_secs())]
    TooSlow(Duration),
    /// The source of the bytes failed.
    #[error("the upload broke off: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A range that the blob does not have.
    #[error("the range {from} to {to} is not within the {size} bytes of the file")]
    Range {
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
        /// The blob's size.
        size: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BrokerError),
}
