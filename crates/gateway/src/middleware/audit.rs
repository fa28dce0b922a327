//! Decides which requests have a line in `audit.log`: each act of an operator, and each call whose credential was
//! refused.

use actix_web::http::Method;
use service::logs::{AuditLine, AuditLog};

use super::{ClientAddress, Notes};
use crate::refusal::Refusal;

/// A request that was answered.
pub(super) struct Answered<'a> {
    pub(super) method: &'a Method,
    /// The route's pattern: what the client sent in the path is not logged.
    pub(super) route: &'a str,
    pub(super) client: ClientAddress,
    pub(super) status: u16,
    pub(super) refusal: Option<&'a Refusal>,
    pub(super) notes: &'a Notes,
}

/// Writes the line of a request, if it has one.
pub(super) fn record(log: &AuditLog, answered: &Answered<'_>) {
    let Answered { method, route, client, status, refusal, notes } = *answered;
    let call = || format!("{method} {route}");
    let line = AuditLine {
        act: "",
        actor: notes.key.as_ref().map(|key| key.as_str()),
        address: client.ip(),
        object: None,
        status,
        reason: refusal.map(|refusal| refusal.code.as_str()),
    };
    if notes.refused.is_some() || matches!(status, 401 | 403) {
        let reason = notes.refused.or(line.reason);
        log.refused(&AuditLine { object: Some(&call()), reason, ..line });
    } else if let Some(act) = notes.act {
        log.act(&AuditLine { act, object: notes.object.as_deref(), ..line });
    } else if route.starts_with("/admin/") && !method.is_safe() && notes.key.is_some() {
        log.act(&AuditLine { act: &call(), ..line });
    }
}
