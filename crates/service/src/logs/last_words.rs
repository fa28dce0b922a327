//! What a process says on the console outside of its log: that it panicked, and why it ends. With `LOG_FORMAT=json`
//! these are JSON too, so that no line of the console is text.

use std::fmt::Display;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use super::EXIT_TARGET;
use super::format::json_line;

/// Whether the log is JSON. For the whole process, as its console.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Logs panics as one line each, instead of the several lines of text that the standard library prints.
pub(super) fn speak_json() {
    IS_JSON.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let said = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(target: "service.panic", place, thread, "a thread panicked: {said}");
}

/// Returns the line, without its end, that tells why a program ends.
pub fn exit_line(program: &str, error: &dyn Display) -> String {
    let message = format!("{program}: {error:#}");
    if !IS_JSON.load(Ordering::Relaxed) {
        return message;
    }
    let fields = [("level", "ERROR"), ("message", message.as_str()), ("target", EXIT_TARGET)];
    let fields = fields.map(|(name, value)| (name, value.into()));
    json_line(OffsetDateTime::now_utc(), &fields).trim_end().to_owned()
}
