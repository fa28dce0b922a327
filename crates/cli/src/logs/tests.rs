//! Tests the output for a folder of logs.

use std::fs;

use time::macros::datetime;

use super::*;

fn line(second: u8, task: &str) -> String {
    format!("[2025-11-21 15:30:{second:02}] task_id={task} status=cancelled total_time=1.00s\n")
}

fn picked(dir: &Path, pick: &Pick, limit: Option<usize>) -> Vec<String> {
    let mut found = Vec::new();
    let days = files::days(dir, Log::Requests).unwrap();
    let end = shown(&days, Log::Requests, pick, limit, |entry| {
        found.push(entry.fields.as_ref().unwrap().text("task_id").unwrap().to_owned());
        Ok(())
    });
    assert!(end.unwrap().is_some(), "following can go on");
    found
}

#[test]
fn last_entries_of_all_days_are_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |day: &str, text: String| {
        fs::write(dir.path().join(format!("llm_requests.{day}.log")), text).unwrap();
    };
    write("2025-11-20", line(1, "a").replace("11-21", "11-20"));
    write("2025-11-21", line(2, "b") + &line(3, "c"));
    write("2025-11-22", String::new());
    let all = Pick::default();
    assert_eq!(picked(dir.path(), &all, Some(2)), ["b", "c"]);
    assert_eq!(picked(dir.path(), &all, Some(20)), ["a", "b", "c"]);
    assert_eq!(picked(dir.path(), &all, None), ["a", "b", "c"]);
    let since = |at| Pick { since: Some(at), ..Pick::default() };
    assert_eq!(picked(dir.path(), &since(datetime!(2025-11-21 15:30:03)), None), ["c"]);
    assert_eq!(picked(dir.path(), &since(datetime!(2025-11-20 0:00)), Some(2)), ["b", "c"]);
    assert!(picked(dir.path(), &since(datetime!(2025-12-01 0:00)), None).is_empty());
    let task = Pick { task: Some("a".into()), ..Pick::default() };
    assert_eq!(picked(dir.path(), &task, None), ["a"]);
}

#[test]
fn control_characters_in_log_lines_are_escaped() {
    let text = "[2025-11-21 15:30:45] task_id=t status=error error_message=\"\u{9b}2J\\u001b[2J\u{1b}]0;x\u{7}\"\n";
    let mut assembler = Assembler::new(Log::Requests);
    for json in [false, true] {
        let mut output = Output::kept();
        let mut printer = Printer { json, unread: 0, output: &mut output };
        for line in text.lines().chain(["{\"torn\u{1b}"]) {
            printer.print(&assembler.push(line.to_owned()).unwrap()).unwrap();
        }
        let (shown, _) = output.into_texts();
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
}
