//! # outbound: requests to addresses that clients name
//!
//! Webhooks are sent to URLs of clients, and images are downloaded from them. Both go through one guard against
//! server-side request forgery, and through connections that lead to a checked address only.
//!
//! | module         | what it does |
//! |----------------|--------------|
//! | [`guard`]      | [`Guard`]: decides which URLs and addresses are allowed |
//! | [`connection`] | [`Connector`]: connects to a checked address, and sends one request |
//! | [`download`]   | [`Downloader`]: gets a file, bounded in time and size; checks every redirect |
//!
//! ```text
//! URL ─ guard: form ─▶ look-up ─ guard: addresses ─▶ TCP, TLS ─▶ request, response
//!   ▲                                                                    │
//!   └────────────────────────── redirect (downloads only) ◀──────────────┘
//! ```

pub mod connection;
pub mod download;
pub mod guard;

pub use connection::{ConnectError, Connector, TlsUnusable};
pub use download::{DownloadError, Downloader};
pub use guard::{Guard, LookupError, Receiver, UrlRefused};
