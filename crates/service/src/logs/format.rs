//! Formats the lines exactly as documented. Pure.
//!
//! Text from users is written as a JSON string in which `=` is escaped too, so that no quote,
//! newline or `key=` in it can forge a field or a line.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use protocol::{CacheStatus, Metrics, ModelId, Outcome, TaskError, TaskId, TenantId, TraceId};
use time::OffsetDateTime;
use time::macros::format_description;

/// Formats a time as `2025-11-21 15:30:45`.
pub(super) fn timestamp(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    at.format(format).unwrap_or_else(|_| at.to_string())
}

/// What `llm_requests.log` says of a task besides its outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoggedTask<'a> {
    pub(super) id: TaskId,
    pub(super) model: &'a ModelId,
    /// The owner of the API key, which is derived from its hash or named by an operator; never the key.
    pub(super) owner: &'a TenantId,
    /// The trace that it is a part of, for `errors.log`.
    pub(super) trace: Option<TraceId>,
}

/// Formats one line of `llm_requests.log`, with its line end. New fields may only be appended at
/// the end. With `details` the model, the owner and, of a failed task, the kind of error follow. The last field says
/// whether the answer came from the result cache.
pub(super) fn request_line(
    at: OffsetDateTime,
    task: &LoggedTask<'_>,
    outcome: &Outcome,
    metrics: &Metrics,
    details: bool,
) -> String {
    let mut line = format!("[{}] task_id={} status=", timestamp(at), task.id);
    match outcome {
        Outcome::Completed(_) => write!(
            line,
            "success prompt_tokens={} completion_tokens={} tokens_per_sec={:.2}",
            metrics.prompt_tokens, metrics.completion_tokens, metrics.tokens_per_second
        ),
        Outcome::Failed(error) => write!(line, "error error_message={}", quoted(&error.message)),
        Outcome::Cancelled { .. } => write!(line, "cancelled"),
    }
    .and_then(|()| {
        write!(
            line,
            " queue_wait={:.2}s processing_time={:.2}s total_time={:.2}s",
            metrics.queue_wait_time, metrics.processing_time, metrics.total_time
        )
    })
    .and_then(|()| match outcome {
        Outcome::Completed(_) => write!(line, " cached_tokens={}", metrics.cached_tokens),
        Outcome::Failed(_) | Outcome::Cancelled { .. } => Ok(()),
    })
    .and_then(|()| if details { write_details(&mut line, task, outcome) } else { Ok(()) })
    .and_then(|()| match outcome.cache() {
        Some(CacheStatus::Hit) => write!(line, " result_cache=hit"),
        Some(CacheStatus::Miss) | None => Ok(()),
    })
    .and_then(|()| writeln!(line))
    .expect("writing to a String can't fail");
    line
}

fn write_details(line: &mut String, task: &LoggedTask<'_>, outcome: &Outcome) -> std::fmt::Result {
    let (model, owner) = (bare_or_quoted(task.model.as_str()), bare_or_quoted(task.owner.as_str()));
    write!(line, " model={model} owner={owner}")?;
    match outcome {
        Outcome::Failed(error) => write!(line, " error_type={}", error.error_type),
        Outcome::Completed(_) | Outcome::Cancelled { .. } => Ok(()),
    }
}

/// Formats one block of `errors.log`. If the task is a part of a trace, its id follows the error's causes.
pub(super) fn error_block(at: OffsetDateTime, task: &LoggedTask<'_>, error: &TaskError) -> String {
    let rule = "=".repeat(80);
    let mut chain = String::new();
    for (depth, cause) in error.chain.iter().enumerate() {
        let lead = if depth == 0 { "  " } else { "  caused by: " };
        writeln!(chain, "{lead}{}", one_line(cause)).expect("writing to a String can't fail");
    }
    if chain.is_empty() {
        chain = format!("  {}\n", one_line(&error.message));
    }
    if let Some(trace) = task.trace {
        writeln!(chain, "  trace_id={trace}").expect("writing to a String can't fail");
    }
    let id = task.id;
    format!(
        "{rule}\n[{}] ERROR - Task {id} failed\nError Type: {}\nError Message: {}\n\nTraceback:\n{chain}{rule}\n",
        timestamp(at),
        error.error_type,
        one_line(&error.message)
    )
}

/// One line of `audit.log`.
#[derive(Debug, Clone, Copy)]
pub struct AuditLine<'a> {
    /// What was done, such as `pause`.
    pub act: &'a str,
    /// The id of the credential; `None` if it was refused.
    pub actor: Option<&'a str>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What it was done to: a key, a model, a task, or the route of a refused call.
    pub object: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused or failed.
    pub reason: Option<&'a str>,
}

/// Maximum length of a value in `audit.log`, in characters.
const MAX_VALUE: usize = 256;

/// Returns the fields of a line of `audit.log`, in their order.
pub(super) fn audit_fields<'a>(line: &AuditLine<'a>) -> Vec<(&'static str, Cow<'a, str>)> {
    let result = match line.status {
        ..400 => "ok",
        400..500 => "refused",
        _ => "failed",
    };
    let mut fields = vec![
        ("act", Cow::Borrowed(line.act)),
        ("actor", line.actor.unwrap_or("none").into()),
        ("address", line.address.map_or("unknown".into(), |one| one.to_string().into())),
    ];
    fields.extend(line.object.map(|object| ("object", object.into())));
    fields.push(("result", result.into()));
    fields.push(("status", line.status.to_string().into()));
    fields.extend(line.reason.map(|reason| ("reason", reason.into())));
    fields
}

/// Formats one line of `audit.log`, with its line end: text, or JSON.
pub(super) fn audit_line(
    at: OffsetDateTime,
    fields: &[(&str, Cow<'_, str>)],
    json: bool,
) -> String {
    let value = |value: &str| value.chars().take(MAX_VALUE).collect::<String>();
    if json {
        let bounded: Vec<_> =
            fields.iter().map(|(name, text)| (*name, Cow::Owned(value(text)))).collect();
        return json_line(at, &bounded);
    }
    let mut line = String::new();
    write!(line, "[{}]", timestamp(at))
        .and_then(|()| {
            fields.iter().try_for_each(|(name, text)| {
                write!(line, " {name}={}", bare_or_quoted(&value(text)))
            })
        })
        .and_then(|()| writeln!(line))
        .expect("writing to a String can't fail");
    line
}

/// Formats one line of JSON, with its line end: a time, and other fields.
pub(super) fn json_line(at: OffsetDateTime, fields: &[(&str, Cow<'_, str>)]) -> String {
    let mut line = String::new();
    write!(line, "{{\"timestamp\":{}", quoted(&(timestamp(at).replacen(' ', "T", 1) + "Z")))
        .and_then(|()| {
            fields.iter().try_for_each(|(name, text)| write!(line, ",\"{name}\":{}", quoted(text)))
        })
        .and_then(|()| writeln!(line, "}}"))
        .expect("writing to a String can't fail");
    line
}

/// Formats `text` as it is if nothing in it can be mistaken for a part of the line, else like [`quoted`].
fn bare_or_quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\=[]".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.into(),
        false => quoted(text).into(),
    }
}

/// Escapes control characters and all Unicode line ends, so that `text` stays on one line.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => escape(c, &mut line),
            c => line.push(c),
        }
    }
    line
}

/// Formats `text` as a JSON string in which `=` is escaped too.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '=' => escape('=', &mut quoted),
            c => quoted.push_str(&one_line(c.encode_utf8(&mut [0; 4]))),
        }
    }
    quoted.push('"');
    quoted
}

/// Appends JSON's `\uXXXX`. All characters escaped here are in the Basic Multilingual Plane.
fn escape(character: char, into: &mut String) {
    write!(into, "\\u{:04x}", u32::from(character)).expect("writing to a String can't fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Completion, ErrorType, Timestamp, Usage};
    use time::macros::datetime;

    const AT: OffsetDateTime = datetime!(2025-11-21 15:30:45 UTC);

    /// Formats the line of a task of model `demo` and owner `o1`.
    fn line(id: TaskId, outcome: &Outcome, metrics: &Metrics, details: bool) -> String {
        let (model, owner) = (ModelId::new("demo"), TenantId::new("o1"));
        let task = LoggedTask { id, model: &model, owner: &owner, trace: None };
        request_line(AT, &task, outcome, metrics, details)
    }

    fn metrics(wait_ms: u64, run_ms: u64, usage: Usage) -> Metrics {
        let at = Timestamp::from_millis;
        Metrics::new(at(0), Some(at(wait_ms)), at(wait_ms + run_ms), usage)
    }

    #[test]
    fn success_line_has_the_exact_format() {
        let id = TaskId::new();
        let usage = Usage {
            prompt_tokens: 50,
            completion_tokens: 200,
            cached_tokens: 32,
            ..Usage::default()
        };
        let outcome = Outcome::Completed(Completion::of_text("…", usage));
        assert_eq!(
            line(id, &outcome, &metrics(2_300, 5_800, usage), false),
            format!(
                "[2025-11-21 15:30:45] task_id={id} status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s cached_tokens=32\n"
            )
        );
    }

    #[test]
    fn error_line_has_the_exact_format() {
        let id = TaskId::new();
        let outcome = Outcome::Failed(TaskError::new(ErrorType::OutOfMemory, "CUDA out of memory"));
        assert_eq!(
            line(id, &outcome, &metrics(500, 3_200, Usage::default()), false),
            format!(
                "[2025-11-21 15:30:45] task_id={id} status=error error_message=\"CUDA out of memory\" queue_wait=0.50s processing_time=3.20s total_time=3.70s\n"
            )
        );
    }

    #[test]
    fn details_are_at_the_end_of_the_line() {
        let (id, metrics) = (TaskId::new(), metrics(500, 3_200, Usage::default()));
        let failed = Outcome::Failed(TaskError::new(ErrorType::OutOfMemory, "CUDA out of memory"));
        for (outcome, details) in [
            (&failed, " model=demo owner=o1 error_type=out_of_memory\n"),
            (&Outcome::CANCELLED, " model=demo owner=o1\n"),
        ] {
            let without = line(id, outcome, &metrics, false);
            assert_eq!(line(id, outcome, &metrics, true), without.trim_end().to_owned() + details);
        }
    }

    #[test]
    fn user_text_cannot_forge_a_field_or_a_line() {
        let evil =
            "x\" status=success total_time=0.00s\n[2025-11-21 15:30:45] task_id=1\u{2028}\u{85}\\";
        let error = TaskError::new(ErrorType::InvalidRequest, evil);
        let outcome = Outcome::Failed(error.clone());
        let (model, owner) = (ModelId::new(evil), TenantId::new(evil));
        let task = LoggedTask { id: TaskId::new(), model: &model, owner: &owner, trace: None };
        let line = request_line(AT, &task, &outcome, &metrics(1, 1, Usage::default()), true);
        assert_eq!(line.lines().count(), 1);
        assert_eq!(line.matches("status=").count(), 1, "{line}");
        assert_eq!(line.matches("total_time=").count(), 1, "{line}");
        assert_eq!(line.matches("task_id=").count(), 1, "{line}");

        let block = error_block(AT, &task, &error);
        assert_eq!(block.lines().count(), 8, "{block}");
    }

    #[test]
    fn audit_line_has_the_exact_format() {
        let line = AuditLine {
            act: "keys.add",
            actor: Some("key_0192"),
            address: Some([203, 0, 113, 7].into()),
            object: Some("key_0193"),
            status: 201,
            reason: None,
        };
        assert_eq!(
            audit_line(AT, &audit_fields(&line), false),
            "[2025-11-21 15:30:45] act=keys.add actor=key_0192 address=203.0.113.7 object=key_0193 result=ok status=201\n"
        );
        let refused = AuditLine {
            act: "access",
            actor: None,
            object: Some("POST /generate"),
            status: 401,
            reason: Some("invalid_api_key"),
            ..line
        };
        assert_eq!(
            audit_line(AT, &audit_fields(&refused), false),
            "[2025-11-21 15:30:45] act=access actor=none address=203.0.113.7 object=\"POST /generate\" result=refused status=401 reason=invalid_api_key\n"
        );
        assert_eq!(
            audit_line(AT, &audit_fields(&refused), true),
            "{\"timestamp\":\"2025-11-21T15:30:45Z\",\"act\":\"access\",\"actor\":\"none\",\"address\":\"203.0.113.7\",\"object\":\"POST /generate\",\"result\":\"refused\",\"status\":\"401\",\"reason\":\"invalid_api_key\"}\n"
        );
    }

    #[test]
    fn user_text_cannot_forge_an_audit_field() {
        for evil in [
            "demo result=ok",
            "demo\n[2025-11-21 15:30:45] act=keys.add result=ok",
            "\" result=ok \"",
            "\u{2028}result=ok",
            "",
            &"result=ok ".repeat(1000),
        ] {
            let line = AuditLine {
                act: "pause",
                actor: Some("key_1"),
                address: None,
                object: Some(evil),
                status: 404,
                reason: Some(evil),
            };
            let text = audit_line(AT, &audit_fields(&line), false);
            assert_eq!((text.lines().count(), text.matches("result=").count()), (1, 1), "{text}");
            assert!(text.contains(" result=refused ") && text.len() < 8_000, "{text}");
            let json = audit_line(AT, &audit_fields(&line), true);
            assert_eq!(
                (json.lines().count(), json.matches("\"result\":").count()),
                (1, 1),
                "{json}"
            );
        }
    }

    #[test]
    fn error_block_has_the_exact_format() {
        let id = TaskId::new();
        let mut error = TaskError::new(ErrorType::EngineError, "the engine failed: boom");
        error.chain = vec!["the engine failed: boom".into(), "boom".into()];
        let rule = "=".repeat(80);
        let (model, owner) = (ModelId::new("demo"), TenantId::new("o1"));
        let task = LoggedTask { id, model: &model, owner: &owner, trace: None };
        let begin = format!(
            "{rule}\n[2025-11-21 15:30:45] ERROR - Task {id} failed\nError Type: engine_error\nError Message: the engine failed: boom\n\nTraceback:\n  the engine failed: boom\n  caused by: boom\n"
        );
        assert_eq!(error_block(AT, &task, &error), format!("{begin}{rule}\n"));
        let traced = LoggedTask { trace: TraceId::new(7), ..task };
        let line = "  trace_id=00000000000000000000000000000007";
        assert_eq!(error_block(AT, &traced, &error), format!("{begin}{line}\n{rule}\n"));
    }
}
