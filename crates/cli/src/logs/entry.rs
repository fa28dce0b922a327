//! Assembles log lines into entries. An entry is one line in `llm_requests.log` and `app.log`, and a block between
//! two rules in `errors.log`. The formats are contracts (`crates/service/src/logs/format.rs`).

use serde_json::Value;
use time::PrimitiveDateTime;

use super::fields::{Fields, instant, rfc3339};
use super::request;

/// The most lines kept of a block.
const MAX_BLOCK: usize = 1_000;
/// The length of a rule in bytes.
const RULE: usize = 80;

/// One of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Requests,
    Errors,
    App,
    Audit,
}

impl Log {
    /// Returns the name of its files, without day and extension.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "llm_requests",
            Self::Errors => "errors",
            Self::App => "app",
            Self::Audit => "audit",
        }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The text in the file.
    pub(super) text: String,
    /// The time in UTC, or `None` if it can't be parsed.
    pub(super) at: Option<PrimitiveDateTime>,
    /// The fields, for programs, or `None` if the entry can't be parsed.
    pub(super) fields: Option<Fields>,
}

/// Assembles lines of one log into entries.
#[derive(Debug)]
pub(super) struct Assembler {
    log: Log,
    /// The lines of the current block.
    block: Vec<String>,
}

impl Assembler {
    pub(super) fn new(log: Log) -> Self {
        Self { log, block: Vec::new() }
    }

    /// Adds the next line. Returns the entry that it completes, if any.
    pub(super) fn push(&mut self, line: String) -> Option<Entry> {
        match self.log {
            Log::Requests => Some(one_line(line, request::parse)),
            Log::App => Some(one_line(line, app)),
            Log::Audit => Some(one_line(line, audit)),
            Log::Errors => self.push_error(line),
        }
    }

    /// Adds a line of `errors.log`. A block begins with its headline, since reading may start inside a block, and
    /// ends with a rule.
    fn push_error(&mut self, line: String) -> Option<Entry> {
        let is_rule = line.len() == RULE && line.bytes().all(|byte| byte == b'=');
        if !is_rule {
            let begins = self.block.is_empty() && headline(&line).is_some();
            if begins || (!self.block.is_empty() && self.block.len() < MAX_BLOCK) {
                self.block.push(line);
            }
            return None;
        }
        if self.block.is_empty() {
            return None;
        }
        let block = std::mem::take(&mut self.block);
        let text = format!("{line}\n{}\n{line}", block.join("\n"));
        let (at, fields) = error(&block).unzip();
        Some(Entry { text, at, fields })
    }
}

fn one_line(line: String, parse: impl Fn(&str) -> Option<(PrimitiveDateTime, Fields)>) -> Entry {
    let (at, fields) = parse(&line).unzip();
    Entry { text: line, at, fields }
}

/// Parses `[2025-11-21 15:30:45] ERROR - Task <id> failed` into the time and the task's id.
fn headline(line: &str) -> Option<(PrimitiveDateTime, &str)> {
    let (at, rest) = line.strip_prefix('[')?.split_once("] ERROR - Task ")?;
    Some((instant(at)?, rest.strip_suffix(" failed")?))
}

/// Parses a block of `errors.log`, without its rules.
fn error(block: &[String]) -> Option<(PrimitiveDateTime, Fields)> {
    let (at, task) = headline(block.first()?)?;
    let mut fields = Fields::default();
    fields.push("time", rfc3339(at));
    fields.push("task_id", task);
    for (name, lead) in [("error_type", "Error Type: "), ("error_message", "Error Message: ")] {
        let told = block.iter().find_map(|line| line.strip_prefix(lead));
        told.into_iter().for_each(|told| fields.push(name, told));
    }
    let traceback = block.iter().skip_while(|line| *line != "Traceback:").skip(1);
    fields.push("traceback", traceback.map(|line| line.trim_start()).collect::<Vec<_>>());
    Some((at, fields))
}

/// Parses a line of `audit.log`, in either of its two formats: text or JSON.
fn audit(line: &str) -> Option<(PrimitiveDateTime, Fields)> {
    let parsed = if line.starts_with('{') { app(line) } else { request::fields(line) };
    parsed.filter(|(_, fields)| fields.get("act").is_some())
}

/// Parses a line of `app.log`, in either of its two formats: text or JSON.
fn app(line: &str) -> Option<(PrimitiveDateTime, Fields)> {
    let mut fields = Fields::default();
    if line.starts_with('{') {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else { return None };
        let at = object.get("timestamp").and_then(Value::as_str).and_then(instant)?;
        fields.push("time", rfc3339(at));
        object.into_iter().for_each(|(name, value)| fields.push(&name, value));
        return Some((at, fields));
    }
    let mut parts = line.splitn(4, " - ");
    let at = parts.next().and_then(instant)?;
    fields.push("time", rfc3339(at));
    for name in ["target", "level", "message"] {
        fields.push(name, parts.next()?);
    }
    Some((at, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(log: Log, text: &str) -> Vec<Entry> {
        let mut assembler = Assembler::new(log);
        text.lines().filter_map(|line| assembler.push(line.to_owned())).collect()
    }

    fn json(entry: &Entry) -> Value {
        serde_json::to_value(entry.fields.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn error_block_is_one_entry_from_any_read_offset() {
        let rule = "=".repeat(80);
        let block = |task: &str| {
            format!(
                "{rule}\n[2025-11-21 15:30:45] ERROR - Task {task} failed\nError Type: engine_error\n\
                 Error Message: it broke\n\nTraceback:\n  it broke\n  caused by: x - = [y]\n{rule}\n"
            )
        };
        let whole = block("t1") + &block("t2");
        let found = entries(Log::Errors, &whole);
        assert_eq!(found.len(), 2);
        assert_eq!(format!("{}\n{}\n", found[0].text, found[1].text), whole, "to the letter");
        assert_eq!(
            json(&found[1]),
            serde_json::json!({
                "time": "2025-11-21T15:30:45Z", "task_id": "t2", "error_type": "engine_error",
                "error_message": "it broke", "traceback": ["it broke", "caused by: x - = [y]"]
            })
        );
        // Reading starts inside the first block; then the first block has lost its closing rule.
        assert_eq!(entries(Log::Errors, &whole[200..])[0].fields, found[1].fields);
        let torn = block("t1").replacen(&format!("[y]\n{rule}\n"), "[y]\n", 1) + &block("t2");
        assert_eq!(entries(Log::Errors, &torn).len(), 2);
    }

    #[test]
    fn both_formats_of_audit_log_are_parsed() {
        let text = "[2025-11-21 15:30:45] act=access actor=none address=203.0.113.7 object=\"POST /generate\" result=refused status=401 reason=invalid_api_key\n\
                    {\"timestamp\":\"2025-11-21T15:30:45Z\",\"act\":\"pause\",\"actor\":\"key_1\",\"status\":\"200\"}\n\
                    [2025-11-21 15:30:45] task_id=1 status=success";
        let found = entries(Log::Audit, text);
        let refused = json(&found[0]);
        assert_eq!(
            (&refused["act"], &refused["object"]),
            (&"access".into(), &"POST /generate".into())
        );
        assert_eq!(
            (&refused["status"], &refused["reason"]),
            (&401.into(), &"invalid_api_key".into())
        );
        assert_eq!((json(&found[1])["actor"].as_str(), found[1].at), (Some("key_1"), found[0].at));
        assert!(found[2].fields.is_none());
    }

    #[test]
    fn both_formats_of_app_log_are_parsed() {
        let text = "2025-11-21 15:30:45 - gateway.generate - INFO - queued - at last id=7\n\
                    {\"timestamp\":\"2025-11-21T15:30:46.123Z\",\"level\":\"WARN\",\"message\":\"m\"}\n\
                    something else";
        let found = entries(Log::App, text);
        assert_eq!(json(&found[0])["message"], "queued - at last id=7");
        assert_eq!(json(&found[0])["level"], "INFO");
        assert_eq!(json(&found[1])["time"], "2025-11-21T15:30:46Z");
        assert_eq!(found[1].at, instant("2025-11-21 15:30:46"));
        assert_eq!((found[2].at, found[2].fields.is_none()), (None, true));
    }
}
