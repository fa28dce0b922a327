//! Prints a task's text as it is generated, across lost connections and failed workers.
//!
//! [`Transcript`] decides what to print and does no I/O. The answer goes to standard output; notes
//! about it go to standard error.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::client::sse::SseEvent;
use crate::output::{Output, OutputError};
use crate::text::{harmless, printable};

/// Maximum number of resumptions in a row of a lost event stream without a new event.
const MAX_RESUMES: u32 = 10;
/// The pause before each resumption but the first.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows a task to its end and returns its result. The answer goes to standard output, notes to
/// standard error. An `accepted` task is known to exist, so a failure of the first connection is
/// retried too.
pub(super) fn follow<O: Write, N: Write>(
    client: &Client,
    task_id: &str,
    accepted: bool,
    output: &mut Output<O, N>,
) -> Result<Value> {
    let mut transcript = Transcript::default();
    let (mut after, mut failures, mut heard) = (0, 0, accepted);
    loop {
        match client.events(task_id, after) {
            Ok(None) => {
                return finish(client.wait_for_result(task_id)?, &mut transcript, output);
            }
            Ok(Some(events)) => {
                heard = true;
                // Stops at an incomplete line or an unreadable event, which the next request asks
                // for again.
                for event in events.map_while(Result::ok) {
                    if event.seq <= after && event.seq != 0 {
                        continue;
                    }
                    (after, failures) = (event.seq.max(after), 0);
                    if let Some(result) = ending(&event) {
                        return finish(result, &mut transcript, output);
                    }
                    show(&transcript.take(&event), output)?;
                }
            }
            Err(error) if heard && error.may_succeed_later() => {}
            Err(error) => return Err(error.into()),
        }
        failures += 1;
        if failures > MAX_RESUMES {
            bail!(
                "the event stream of task {task_id} keeps breaking off; the result is not lost, get it with: \
                 qwen-queue result {task_id}"
            );
        }
        if failures > 1 {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Returns the result in the task's last event, or `None` for other events.
fn ending(event: &SseEvent) -> Option<Value> {
    matches!(&*event.name, "completed" | "failed" | "cancelled").then(|| event.data.clone())
}

fn finish<O: Write, N: Write>(
    result: Value,
    transcript: &mut Transcript,
    output: &mut Output<O, N>,
) -> Result<Value> {
    show(&transcript.end(result["result"].as_str()), output)?;
    Ok(result)
}

fn show<O: Write, N: Write>(parts: &[Part], output: &mut Output<O, N>) -> Result<(), OutputError> {
    for part in parts {
        match part {
            Part::Text(part) => output.answer(part)?,
            Part::Aside(part) => output.aside(part),
            Part::Note(note) => output.note(&format!("[{note}]")),
        }
    }
    Ok(())
}

/// Something to print.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Text of the answer.
    Text(String),
    /// Text of the model's reasoning.
    Aside(String),
    /// A note about the task.
    Note(String),
}

/// The text printed so far, and the attempt that it belongs to.
#[derive(Debug, Default)]
struct Transcript {
    attempt: u64,
    printed: String,
    /// The printed text does not end with a line end.
    line_is_open: bool,
    /// The printed reasoning does not end with a line end.
    aside_is_open: bool,
}

impl Transcript {
    /// Processes an event that is not the last.
    fn take(&mut self, event: &SseEvent) -> Vec<Part> {
        let attempt = event.data["attempt"].as_u64().unwrap_or(self.attempt);
        match &*event.name {
            // From an attempt that is already discarded.
            _ if attempt < self.attempt => vec![],
            "started" => self.begin(attempt),
            "token" => {
                let mut parts = self.begin(attempt);
                match event.data["parts"].as_array() {
                    Some(told) => told.iter().for_each(|part| self.part(part, &mut parts)),
                    None => self.text(event.data["text"].as_str().unwrap_or_default(), &mut parts),
                }
                parts
            }
            "requeued" => {
                let reason = event.data["reason"].as_str().unwrap_or("no reason given");
                vec![
                    self.break_line(),
                    Part::Note(format!("back in the queue: {}", printable(reason))),
                ]
            }
            _ => vec![],
        }
    }

    /// Processes a part of a split answer.
    fn part(&mut self, part: &Value, parts: &mut Vec<Part>) {
        let text = part["text"].as_str().unwrap_or_default();
        match part["kind"].as_str() {
            Some("text") => self.text(text, parts),
            Some("reasoning") if !text.is_empty() => {
                self.aside_is_open = !text.ends_with('\n');
                parts.push(Part::Aside(harmless(text)));
            }
            Some("tool_call") => {
                self.end_aside_line(parts);
                parts.push(Part::Note(call(&part["call"])));
            }
            _ => {} // kinds of later versions are ignored
        }
    }

    fn text(&mut self, text: &str, parts: &mut Vec<Part>) {
        if text.is_empty() {
            return;
        }
        self.end_aside_line(parts);
        self.printed.push_str(text);
        self.line_is_open = !text.ends_with('\n');
        parts.push(Part::Text(text.to_owned()));
    }

    fn end_aside_line(&mut self, parts: &mut Vec<Part>) {
        if std::mem::take(&mut self.aside_is_open) {
            parts.push(Part::Aside("\n".to_owned()));
        }
    }

    /// Starts a later attempt, which discards the text printed for earlier ones.
    fn begin(&mut self, attempt: u64) -> Vec<Part> {
        if attempt == self.attempt {
            return vec![];
        }
        let mut parts = Vec::new();
        if !self.printed.is_empty() {
            parts.push(self.break_line());
            parts.push(Part::Note(format!(
                "attempt {attempt} begins: discard what was printed, the answer starts afresh"
            )));
        }
        self.attempt = attempt;
        self.printed.clear();
        parts
    }

    /// Ends the task with its text, if any, and prints what is missing of it. Events may be lost (a
    /// task keeps some 4,096 of them), the result is not.
    fn end(&mut self, result: Option<&str>) -> Vec<Part> {
        let Some(result) = result else { return vec![self.break_line()] };
        let mut parts = Vec::new();
        self.end_aside_line(&mut parts);
        match result.strip_prefix(&*self.printed) {
            Some(rest) => parts.push(Part::Text(rest.to_owned())),
            None => {
                parts.push(self.break_line());
                parts.push(Part::Note(
                    "discard the text above, which is incomplete because events were lost; the whole answer:"
                        .to_owned(),
                ));
                parts.push(Part::Text(result.to_owned()));
            }
        }
        parts.push(Part::Text("\n".to_owned()));
        parts
    }

    /// Ends an unfinished line.
    fn break_line(&mut self) -> Part {
        let was_open = std::mem::take(&mut self.line_is_open);
        Part::Text(if was_open { "\n".to_owned() } else { String::new() })
    }
}

/// Describes a function call, or an invalid attempt at one, in words.
pub(super) fn call(call: &Value) -> String {
    match (call["name"].as_str(), call["raw"].as_str()) {
        (Some(name), _) => printable(&format!("calls {name} with {}", call["arguments"])),
        (None, raw) => printable(&format!(
            "malformed call ({}): {}",
            call["error"].as_str().unwrap_or("no reason given"),
            raw.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests;
