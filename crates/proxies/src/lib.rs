//! # proxies: selects the proxy of a request
//!
//! Reads proxies from the environment by curl's rules, for all HTTP clients of the system: the
//! CLI's commands, and downloads from the hub. `ureq`'s own rules differ (any proxy for any URL, no
//! ranges in `NO_PROXY`), so they are disabled.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`variables`] | `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` from the environment |
//! | [`address`]  | parses a proxy address; pure |
//! | [`exempt`]   | matches hosts against `no_proxy`; pure |
//! | [`forward`]  | sends requests for http:// URLs to an HTTP proxy in absolute form |
//! | [`agents`]   | the `ureq` agent for a URL |
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

pub use agents::{Agents, UsedProxy};
pub use variables::Variables;

/// An environment variable is not a valid proxy address. Its value is not shown, because it may
/// contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is not the address of a proxy: {what}; write [scheme://][user:password@]host[:port] with the \
     scheme http, https, socks4, socks4a, socks5 or socks5h, or unset it"
)]
pub struct BadProxy {
    /// The variable's name.
    pub variable: &'static str,
    /// The problem.
    pub what: String,
}
