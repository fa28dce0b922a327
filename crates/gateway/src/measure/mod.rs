//! What the gateway measures.
//!
//! | module  | what it does |
//! |---------|--------------|
//! | `http`  | counts requests and their answers |
//! | `queue` | reads the queue and the workers during a scrape |
//! | `watch` | reads them at intervals, for the history and to log deaf workers |

mod http;
mod queue;
mod watch;

pub(crate) use http::{answered, until_sent};
pub(crate) use queue::source;
pub(crate) use watch::watch;

/// Counts a try of a webhook.
pub(crate) fn webhook_tried(verdict: ::queue::Verdict) {
    let result = match verdict {
        ::queue::Verdict::Delivered => "delivered",
        ::queue::Verdict::Again(_) => "retry",
        ::queue::Verdict::GivenUp => "given_up",
    };
    service::metrics::table::WEBHOOK_TRIES.count(&[result], 1);
}
