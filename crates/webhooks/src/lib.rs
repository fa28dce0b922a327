//! # webhooks: POSTs each task's outcome to the URL that its submitter named
//!
//! A task may name a URL. The step that ends the task also adds a delivery to the queue,
//! atomically. Every gateway runs a [`Deliverer`]; together they send each delivery at least once,
//! signed, and never to an address that the submitter must not reach through the gateway (SSRF):
//! `outbound` guards the connections.
//!
//! ## Layout
//!
//! | module         | what it does |
//! |----------------|--------------|
//! | [`sign`]       | [`Secret`]: derived from the API key, never stored; signs as Standard Webhooks specifies |
//! | [`payload`]    | builds the body, the same for every try |
//! | [`send`]       | [`Sender`]: sends one POST to a checked address, bounded in time and size |
//! | [`schedule`]   | [`Schedule`]: decides whether and when to retry; pure |
//! | `fair_queue`   | picks the next delivery, so that a slow receiver delays only its own tenant; pure |
//! | [`deliver`]    | [`Deliverer`]: the loop that uses all of these |
//!
//! ## Data flow
//!
//! ```text
//! queue ──due──▶ deliver ─▶ fair_queue ─▶ payload ─▶ sign ─▶ send ─▶ outbound ─▶ receiver
//!   ▲                                                         │
//!   └────────────── result, verdict ◀── schedule ◀────────────┘
//! ```

pub mod deliver;
mod fair_queue;
pub mod payload;
pub mod schedule;
pub mod send;
pub mod sign;

pub use deliver::Deliverer;
pub use outbound::guard::{self, Guard, Receiver, UrlRefused};
pub use schedule::Schedule;
pub use send::{Answer, SendError, Sender};
pub use sign::{Secret, Secrets};

/// Says why a URL can't be used for webhooks, and what helps.
pub fn refused(refused: UrlRefused) -> String {
    match refused {
        UrlRefused::Credentials => {
            format!("{refused}; receivers authenticate webhooks by their signature")
        }
        UrlRefused::NotPublic => {
            format!("{refused}; an operator can allow private ones with WEBHOOK_ALLOW_PRIVATE")
        }
        other => other.to_string(),
    }
}
