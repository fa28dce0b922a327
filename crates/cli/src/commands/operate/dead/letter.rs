//! Formats dead letters for people.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

use crate::client::admin::{Letter, understood};
use crate::table::{Align, Column};
use crate::text::{instant, printable, printable_json};

/// The columns of a list.
pub(super) const COLUMNS: [Column; 6] = [
    ("task", Align::Left),
    ("died (UTC)", Align::Left),
    ("model", Align::Left),
    ("attempts", Align::Right),
    ("error", Align::Left),
    ("message", Align::Left),
];
/// The maximum length of a message in a list, in characters.
const MESSAGE: usize = 60;

pub(super) fn read(letter: Value) -> Result<Letter> {
    Ok(understood("/admin/dead-letters", letter)?)
}

pub(super) fn row(letter: &Letter) -> [String; COLUMNS.len()] {
    let mut message: String = printable(&letter.error_message);
    if let Some((end, _)) = message.char_indices().nth(MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    [
        printable(&letter.task_id),
        instant(letter.died_at),
        printable(&letter.model),
        letter.failures.len().to_string(),
        printable(&letter.error_type),
        message,
    ]
}

/// Formats one letter on several lines.
pub(super) fn page(letter: &Letter) -> String {
    let mut page = format!(
        "task       {}\nmodel      {}\nsubmitted  {} UTC\ndied       {} UTC\nerror      {}: {}\n",
        printable(&letter.task_id),
        printable(&letter.model),
        instant(letter.submitted_at),
        instant(letter.died_at),
        printable(&letter.error_type),
        printable(&letter.error_message),
    );
    // Writing to a `String` cannot fail.
    for failure in &letter.failures {
        let _ = writeln!(
            page,
            "\nattempt {} on worker {}, {} UTC\n  {}: {}",
            failure.attempt,
            printable(&failure.worker),
            instant(failure.at),
            printable(&failure.error_type),
            printable(&failure.error_message)
        );
    }
    if let Some(task) = &letter.task {
        let task = serde_json::to_string_pretty(task).unwrap_or_default();
        let _ = writeln!(page, "\n{}", printable_json(&task));
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter() -> Letter {
        read(json!({
            "task_id": "0192", "model": "demo", "error_type": "worker_lost",
            "error_message": "\u{1b}[2J".to_owned() + &"long ".repeat(40),
            "failures": [{"attempt": 2, "worker": "5b32", "at": 1_763_739_045_000_u64,
                          "error_type": "engine_error", "error_message": "it broke\nbadly"}],
            "submitted_at": 1_763_739_000_000_u64, "died_at": 1_763_739_045_000_u64,
            "task": {"prompt": "\u{9b}31m"},
        }))
        .unwrap()
    }

    #[test]
    fn dead_letter_row_is_one_short_line() {
        let row = row(&letter());
        assert_eq!(row[..5], ["0192", "2025-11-21 15:30:45", "demo", "1", "worker_lost"]);
        assert!(
            row[5].starts_with("\\u001b[2Jlong ") && row[5].chars().count() == MESSAGE + 1,
            "{row:?}"
        );
    }

    #[test]
    fn dead_letter_page_lists_attempts_and_escapes_text() {
        let page = page(&letter());
        let told =
            "attempt 2 on worker 5b32, 2025-11-21 15:30:45 UTC\n  engine_error: it broke\\nbadly\n";
        assert!(page.contains(told), "{page}");
        assert!(page.contains("\"prompt\": \"\\u009b31m\""), "{page}");
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
    }
}
