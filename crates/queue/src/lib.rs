//! # queue: stores tasks until workers run them
//!
//! Defines the [`Broker`] contract and implements it twice. Gateways submit and read through it,
//! workers claim and finish through it, and neither depends on the store. The guarantee is
//! at-least-once execution, exactly one recorded outcome, and no loss of an accepted task unless
//! the store itself loses data.
//!
//! ## Layout
//!
//! | module       | contents |
//! |--------------|----------|
//! | [`Broker`], [`Operations`], [`Listing`], [`Webhooks`], [`Blobs`], [`BlobBytes`], [`Batches`], [`Metering`], [`PeriodicTasks`], [`ResultCache`] (`contract/`) | the traits that every queue implements; their comments are the specification |
//! | `submit.rs`  | [`SubmitOptions`]: when a task may start, deduplication, and the bounds of the queue |
//! | [`redis`]    | [`RedisBroker`]: Streams and one Lua script per operation, for many machines |
//! | [`sqlite`]   | [`SqliteBroker`]: a file, for one machine |
//! | `blobs`      | [`BlobStore`]: streams uploaded files into bytes and records, bounded and without orphans |
//! | [`watch`]    | wake-ups instead of polling: [`watch::Watch`], [`watch::CancelFeed`] |
//! | `meters`     | the arithmetic of limits on use |
//! | `limits`     | limits that both stores keep |
//! | `lanes`      | the order in which a claim searches the lanes |
//! | `estimate`   | a queued task's position and the likely time of its outcome |
//! | [`retry`]    | the backoff after a failed attempt; retries while the queue is unavailable |
//! | `replay`     | the submit that replays a dead letter |
//! | `pace`       | the drain rate of a queue, and when a full one is likely to have room |
//! | `stored`     | the stored forms of outcomes, events, snapshots |
//! | `listed`     | the stored fields of a listed task |
//! | `handover`   | parcels of claimed tasks, which ensure that dropping a claim loses no task |
//! | `written`    | acknowledgements of written log lines that the store does not have yet |
//!
//! ## Data flow
//!
//! ```text
//!            submit                   claim                 renew · publish
//! gateway ───────────▶ queued ───────────────▶ processing ◀────────────────── worker
//!    │                   │  ▲                   │   │   │                        │
//!    │ cancel            │  └───────────────────┘   │   └────────────────────────┘
//!    ▼                   ▼    release · reap        │ finish
//! cancelled ◀────────────┴──────────────────────────┴──────▶ completed · failed · cancelled
//! ```
//!
//! Only the holder of the current (worker, attempt) may renew, publish, finish or release. Each of
//! these checks the lease before it writes, in the same atomic step. A worker whose lease expired
//! gets [`BrokerError::LeaseLost`] when it continues.

mod blobs;
mod contract;
mod estimate;
mod handover;
mod lanes;
mod limits;
mod listed;
mod meters;
mod pace;
pub mod redis;
mod replay;
pub mod retry;
pub mod sqlite;
mod stored;
mod submit;
pub mod watch;
mod written;

pub use crate::blobs::{
    BlobError, BlobLimits, BlobStore, Folder, FoundBlob, HAS_OBJECT_STORE, NewBlob, object_store,
};
pub use crate::redis::{RedisBroker, RedisOptions};
pub use crate::sqlite::SqliteBroker;
pub use contract::*;
pub use stored::is_lost_worker;
pub use submit::*;
