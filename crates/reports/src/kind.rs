//! The kind of an error: what the line names, else its message without what differs between tasks.

use std::borrow::Cow;

use crate::line::Line;

/// The maximum length of a kind that is made of a message, in characters.
const MAX_KIND: usize = 80;

/// Returns the kind of a failed task's error. Of a message, `#` stands for each number and id, so that "timed out
/// after 31 s" and "timed out after 32 s" are one kind.
pub(crate) fn kind<'a>(line: &Line<'a>) -> Cow<'a, str> {
    match (line.error_type, line.error_message) {
        (Some(kind), _) => kind.decode(),
        (None, Some(message)) => general(&message.decode()).into(),
        (None, None) => "unknown".into(),
    }
}

fn general(message: &str) -> String {
    let mut kind = String::new();
    let mut rest = message;
    let mut count = 0;
    while let Some(first) = rest.chars().next() {
        if count == MAX_KIND {
            kind.push('…');
            break;
        }
        // A word of at least eight hexadecimal digits and hyphens is an id, such as a UUID.
        let word =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let is_id = |word: &str| {
            let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
            word.len() >= 8 && word.chars().all(hex) && word.chars().any(|c| c.is_ascii_digit())
        };
        if word > 0 && is_id(&rest[..word]) {
            kind.push('#');
            rest = &rest[word..];
        } else if first.is_ascii_digit() {
            kind.push('#');
            let number = |c: char| !c.is_ascii_digit() && c != '.' && c != ',';
            let end = rest.find(number).unwrap_or(rest.len());
            // A point or comma at the end belongs to the sentence.
            let digits = rest[..end].trim_end_matches(['.', ',']).len();
            rest = &rest[digits..];
        } else {
            kind.push(first);
            rest = &rest[first.len_utf8()..];
        }
        count += 1;
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::line;

    #[test]
    fn messages_that_differ_in_numbers_only_are_one_kind() {
        assert_eq!(general("timed out after 31.5 s, at 12,000."), "timed out after # s, at #.");
        assert_eq!(
            general("task 0192f0c1-aaaa-7bbb-8ccc-0123456789ab was lost by w7"),
            "task # was lost by w#"
        );
        assert_eq!(general("é 模型 deadbeef"), "é 模型 deadbeef", "no digit: a word");
        assert_eq!(general(&"é".repeat(100)), "é".repeat(MAX_KIND) + "…");
        assert_eq!(general(&"é".repeat(MAX_KIND)), "é".repeat(MAX_KIND));
    }

    #[test]
    fn a_named_kind_comes_first() {
        let of = |fields: &str| {
            let line = format!("[2025-11-21 15:30:45] task_id=a status=error{fields}");
            kind(&line::parse(line.as_bytes(), &mut Clock::default()).unwrap()).into_owned()
        };
        assert_eq!(of(" error_message=\"x 1\" error_type=engine_error"), "engine_error");
        assert_eq!(of(" error_message=\"x\\n1\""), "x\n#");
        assert_eq!(of(""), "unknown");
    }
}
