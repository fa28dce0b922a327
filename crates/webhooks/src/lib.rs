//! # webhooks: receivers hear of tasks' ends
//!
//! A task may name a URL. When it ends, the queue notes in the same atomic step that this is to be
//! told; the deliverers, one in every gateway, share the telling. At least once, signed, and never to
//! an address that an outsider must not reach through us.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`sign`]     | [`Secret`]: one per API key, derived, never stored; Standard Webhooks' signature |
//! | [`payload`]  | the body, the same for every try |
//! | [`guard`]    | [`Guard`]: which URLs and addresses are allowed |
//! | [`send`]     | [`Sender`]: one POST to a checked address, bounded in time and size |
//! | [`schedule`] | [`Schedule`]: what follows from a try, pure |
//! | `line`       | whose delivery is next, so that a slow receiver delays only its own |
//! | [`deliver`]  | [`Deliverer`]: the loop around all this |
//!
//! ## Data flow
//!
//! ```text
//! queue ──due──▶ deliver ─▶ line ─▶ payload ─▶ sign ─▶ send ─▶ guard ─▶ receiver
//!   ▲                                                   │
//!   └──────────────── tried, verdict ◀── schedule ◀─────┘
//! ```

pub mod deliver;
pub mod guard;
mod line;
pub mod payload;
pub mod schedule;
pub mod send;
pub mod sign;

pub use deliver::Deliverer;
pub use guard::{Guard, Receiver, UrlRefused};
pub use schedule::Schedule;
pub use send::{Answer, SendError, Sender};
pub use sign::{Secret, Secrets};
