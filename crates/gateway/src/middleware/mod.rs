//! What happens around every request.

mod client;
mod observe;
mod request_id;

pub(crate) use client::ClientAddress;
pub(crate) use observe::observe;

use actix_web::dev::Extensions;
use protocol::{TaskId, TenantId};

/// What a handler learned that belongs in the request's log line.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Whose key it was.
    pub(crate) tenant: Option<TenantId>,
    /// The task it was about.
    pub(crate) task_id: Option<TaskId>,
}

impl Notes {
    /// The notes of the request that these extensions belong to.
    pub(crate) fn of(extensions: &mut Extensions) -> &mut Self {
        if !extensions.contains::<Self>() {
            extensions.insert(Self::default());
        }
        extensions.get_mut().expect("inserted above")
    }
}
