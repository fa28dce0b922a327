//! # proxies: which proxy a request goes through
//!
//! The environment names proxies as curl reads it, for every HTTP client of the system: the command
//! line's verbs, and downloads from the hub. `ureq` has rules of its own (any proxy for any address, no
//! ranges in `NO_PROXY`), so its are not used.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`variables`] | `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, as the environment has them |
//! | [`address`]  | reads the address of a proxy; pure |
//! | [`exempt`]   | hosts that `no_proxy` exempts; pure |
//! | [`forward`]  | sends requests for http:// addresses to an HTTP proxy as such a proxy expects them |
//! | [`agents`]   | the `ureq` agent for an address |
//!
//! ## Data flow
//!
//! ```text
//! environment ─▶ Variables ─▶ Agents ──for_url──▶ (ureq::Agent, Option<&Via>)
//! ```

mod address;
mod agents;
mod exempt;
mod forward;
mod variables;

pub use agents::{Agents, Via};
pub use variables::Variables;

/// A variable of the environment holds something else than the address of a proxy. Its value may hold a
/// password, and is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is not the address of a proxy: {what}; write [scheme://][user:password@]host[:port] with the \
     scheme http, https, socks4, socks4a, socks5 or socks5h, or unset it"
)]
pub struct BadProxy {
    /// Which variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub what: String,
}
