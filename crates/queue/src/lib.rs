//! # queue: where tasks wait
//!
//! The [`Broker`] contract and its two implementations. Gateways submit and read through it, workers
//! claim and finish through it, and neither knows what stores the tasks. It serves one promise:
//! at-least-once execution, exactly one recorded outcome, and no accepted task is lost unless the
//! store itself loses data.
//!
//! ## Layout
//!
//! | module       | what it holds |
//! |--------------|---------------|
//! | [`Broker`], [`Operations`], [`Webhooks`] (`contract/`) | what every queue must do; the comments are the specification |
//! | `submit.rs`  | [`SubmitOptions`]: when a task may run, how often, and what the queue may hold |
//! | [`redis`]    | [`RedisBroker`]: Streams and one Lua script per operation, for many machines |
//! | [`sqlite`]   | [`SqliteBroker`]: a file, for one machine |
//! | [`watch`]    | hints instead of polling: [`watch::Watch`], [`watch::CancelFeed`] |
//! | `lanes`      | which lane a claim looks into first |
//! | `estimate`   | where a queued task stands, and when its outcome is likely |
//! | [`retry`]    | how long a task rests after a failed attempt |
//! | `replay`     | what a replay of a dead letter submits |
//! | `pace`       | how a queue moves, and when a full one has room again |
//! | `stored`     | the stored forms of outcomes, events, snapshots |
//! | `handover`   | why dropping a claim loses no task |
//! | `insist`     | [`insist`]: asks until the queue answers |
//! | `written`    | tasks whose log lines are written, until the store knows |
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
//! Only the holder of the current (worker, attempt) may renew, publish, finish or release: each
//! checks that before it writes, in the same atomic step. A worker that was taken for dead and comes
//! back is refused with [`BrokerError::LeaseLost`].

mod contract;
mod estimate;
mod handover;
mod insist;
mod lanes;
mod pace;
pub mod redis;
mod replay;
pub mod retry;
pub mod sqlite;
mod stored;
mod submit;
pub mod watch;
mod written;

pub use crate::redis::{RedisBroker, RedisOptions};
pub use crate::sqlite::SqliteBroker;
pub use contract::*;
pub use insist::insist;
pub use submit::*;
