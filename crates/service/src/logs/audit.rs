//! `audit.log`: one line per act of an operator, and per refused call.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use time::OffsetDateTime;

use super::flood::{Flood, Suppressed};
use super::format::{self, AuditLine};
use super::writer::{Entry, LogSender};

/// The act in the line of a call whose credential was refused.
const ACCESS: &str = "access";

/// Writes `audit.log`. Never blocks on the disk. The default discards all lines.
#[derive(Clone, Default)]
pub struct AuditLog(Option<Arc<Inner>>);

struct Inner {
    log_sender: LogSender,
    json: bool,
    /// Bounds the lines of refused calls.
    flood: Mutex<Flood>,
}

impl AuditLog {
    pub(super) fn new(log_sender: LogSender, json: bool) -> Self {
        Self(Some(Arc::new(Inner { log_sender, json, flood: Mutex::default() })))
    }

    /// Writes the line of an operator's act.
    pub fn act(&self, line: &AuditLine<'_>) {
        if let Some(inner) = &self.0 {
            inner.put(&format::audit_fields(line));
        }
    }

    /// Writes the line of a refused call, unless its address has had too many of them lately; the others are counted.
    pub fn refused(&self, line: &AuditLine<'_>) {
        let Some(inner) = &self.0 else { return };
        let (is_written, ended) = inner.flood().admit(line.address, Instant::now());
        inner.report(ended);
        if is_written {
            inner.put(&format::audit_fields(&AuditLine { act: ACCESS, ..*line }));
        }
    }

    /// Writes how many lines were left out, for each address whose time is over. Call every few seconds.
    pub fn report_suppressed(&self) {
        if let Some(inner) = &self.0 {
            let ended = inner.flood().ended(Instant::now());
            inner.report(ended);
        }
    }

    /// The same for all addresses, at the end of the process.
    pub fn finish(&self) {
        if let Some(inner) = &self.0 {
            let all = inner.flood().all();
            inner.report(all);
        }
    }
}

impl Inner {
    fn flood(&self) -> std::sync::MutexGuard<'_, Flood> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, suppressed: impl IntoIterator<Item = Suppressed>) {
        for Suppressed { address, lines } in suppressed {
            let address = address.map_or_else(|| "several".to_owned(), |one| one.to_string());
            let lines = lines.to_string();
            self.put(&[
                ("act", ACCESS.into()),
                ("address", address.into()),
                ("result", "refused".into()),
                ("suppressed", lines.into()),
            ]);
        }
    }

    fn put(&self, fields: &[(&str, Cow<'_, str>)]) {
        let line = format::audit_line(OffsetDateTime::now_utc(), fields, self.json);
        self.log_sender.put(Entry::new(line.into_bytes(), None));
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}
