//! The contract that every queue implements, whatever stores its tasks: one trait per file, with the types
//! that it alone uses. One conformance suite (`tests/suite/conformance`) checks every implementation against
//! these comments.

mod batches;
mod blobs;
mod broker;
mod bytes;
pub(crate) mod causes;
mod charge;
mod error;
mod fitness;
mod journal;
mod keys;
mod lease;
mod listing;
mod metering;
mod operations;
mod periodic;
mod result_cache;
mod webhooks;

pub use batches::{
    BATCH_TTL, Batch, BatchList, BatchPage, BatchPart, BatchProblem, BatchState, BatchStep,
    BatchUsage, Batches, NewBatch,
};
pub use blobs::{
    ABANDONED_FOR, Blob, BlobList, BlobOrder, BlobPage, BlobRecord, BlobUpload, Blobs, ContentHash,
    DoomedBlob, InvalidHash, Reserved, Wanted,
};
pub use broker::{Broker, Depth};
pub use bytes::{BlobBytes, BlobPlace, BlobWriter, ByteStream};
pub use causes::NO_ANSWER;
pub use charge::{Charge, Exhausted, Meter, MeterKind, NO_KEY, Payer, Reading};
pub use error::{BrokerError, OpenError};
pub use fitness::Fitness;
pub use journal::{LINE_KEPT, LINE_SPAN, Unlogged};
pub use keys::{KeyHash, Keys, StoredKey};
pub use lease::{CancelReply, Claimant, Claimed, Lease, LeaseState, Reaped, Release, Room};
pub use listing::{
    CancelledPage, InvalidCursor, LISTED_ENDED, ListedState, ListedTask, Listing, MAX_SEARCHED,
    TaskCursor, TaskFilter, TaskPage, UnknownListedState,
};
pub use metering::{Metering, UsageQuery};
pub use operations::{
    DEAD_LETTER_TTL, DeadLetter, DeadLetterPage, Failure, MAX_DEAD_LETTERS, Operations, Overview,
    Purge, QueueOverview, TOMBSTONE, WorkerOrders,
};
pub use periodic::{
    PeriodicId, PeriodicRun, PeriodicState, PeriodicStep, PeriodicTasks, PeriodicTrouble,
    StoredPeriodic,
};
pub use result_cache::{RESULT_OVERHEAD, ResultCache, ResultCacheSize};
pub use webhooks::{
    Content, Delivery, MAX_TRIES_KEPT, Notice, TaskEnd, Tried, TryResult, Verdict,
    WEBHOOK_REPORT_TTL, WebhookReport, WebhookState, Webhooks,
};
