//! Middleware around every request.

mod audit;
mod client;
mod cors;
mod observe;
mod request_id;
mod request_log;
mod trace;

pub(crate) use client::ClientAddress;
pub(crate) use cors::cors;
pub(crate) use observe::{catch_panics, observe};
pub(crate) use request_log::{RouteLog, log};
pub(crate) use trace::RequestTrace;

use actix_web::dev::Extensions;
use protocol::{KeyId, TaskId, TenantId};

use crate::limit_headers::Readings;

/// Facts that a handler adds to the request's log line.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Identifies the request's credential, if it was accepted.
    pub(crate) key: Option<KeyId>,
    /// Why the request's credential was refused, for programs.
    pub(crate) refused: Option<&'static str>,
    /// The tenant whose tasks the request's credential opens.
    pub(crate) tenant: Option<TenantId>,
    /// The task that the request concerns.
    pub(crate) task_id: Option<TaskId>,
    /// The operator's act that the request asks for, such as `pause`.
    pub(crate) act: Option<&'static str>,
    /// The state of the limits that hold for the task.
    pub(crate) readings: Option<Readings>,
    /// What the act is done to.
    pub(crate) object: Option<String>,
}

impl Notes {
    /// Returns the notes of the request that these extensions belong to.
    pub(crate) fn of(extensions: &mut Extensions) -> &mut Self {
        if !extensions.contains::<Self>() {
            extensions.insert(Self::default());
        }
        extensions.get_mut().expect("inserted above")
    }
}
