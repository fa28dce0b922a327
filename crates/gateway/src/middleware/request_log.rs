//! The log line of a request. Prompts, keys and paths are never logged: the client chose them.

use protocol::TraceId;
use tracing::Level;

use super::{ClientAddress, Notes};

/// How the requests to a route are logged; given when the route is registered. Create it with
/// `log!`.
#[derive(Clone, Copy)]
pub(crate) struct RouteLog {
    /// Writes the line. A function, because `tracing` requires constants for target and level.
    pub(crate) write: fn(Level, &Line<'_>),
    /// The level of successful requests. Polls, of which there are many, are logged at `DEBUG`.
    pub(crate) success: Level,
    /// Whether every line names the client's address. Lines of requests with an invalid key always
    /// do.
    pub(crate) names_client: bool,
}

impl RouteLog {
    /// Logs successful requests at `INFO`.
    pub(crate) const fn work(self) -> Self {
        Self { success: Level::INFO, ..self }
    }

    /// Names the client's address on every line.
    pub(crate) const fn with_client(self) -> Self {
        Self { names_client: true, ..self }
    }

    /// Writes the line at the level that the status calls for.
    pub(super) fn line(&self, status: u16, line: &Line<'_>) {
        let level = match status {
            500 => Level::ERROR,
            501.. => Level::WARN,
            400.. => Level::INFO,
            _ => self.success,
        };
        (self.write)(level, line);
    }
}

/// The fields of the log line.
pub(crate) struct Line<'a> {
    pub(crate) id: &'a str,
    /// The client's address, if the line names it. Otherwise the tenant identifies the client.
    pub(crate) client: Option<ClientAddress>,
    pub(crate) notes: &'a Notes,
    /// The trace that the request is a part of, if it is known outside of this process.
    pub(crate) trace: Option<TraceId>,
    /// Method, route, status, time and the reason of a refusal.
    pub(crate) text: &'a str,
}

/// Creates a [`RouteLog`] with the given target: `log!("gateway.status")`.
macro_rules! log {
    ($target:literal) => {
        $crate::middleware::RouteLog {
            write: |level, line| {
                let request_id = line.id;
                let client = line.client.map(tracing::field::display);
                let tenant = line.notes.tenant.as_ref().map(tracing::field::display);
                let task_id = line.notes.task_id.map(tracing::field::display);
                let trace_id = line.trace.map(tracing::field::display);
                let text = line.text;
                macro_rules! at {
                    ($at:ident) => {
                        tracing::$at!(
                            target: $target, request_id, client, tenant, task_id, trace_id, "{text}"
                        )
                    };
                }
                match level {
                    tracing::Level::ERROR => at!(error),
                    tracing::Level::WARN => at!(warn),
                    tracing::Level::INFO => at!(info),
                    _ => at!(debug),
                }
            },
            success: tracing::Level::DEBUG,
            names_client: false,
        }
    };
}
pub(crate) use log;
