//! Tests lost streams against a real socket, and the printed text.

use serde_json::json;

use super::*;
use crate::client::fake::{plain, server};

/// An event stream that is cut off without its end.
fn cut(events: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n{events}"
    )
}

fn event(seq: u64, name: &str, data: &Value) -> String {
    format!("id: {seq}\nevent: {name}\ndata: {data}\n\n")
}

fn token(seq: u64, attempt: u64, text: &str) -> String {
    event(seq, "token", &json!({"attempt": attempt, "text": text}))
}

/// Follows a task of such a server. Returns the text, the notes and the requests.
fn followed(answers: Vec<String>) -> (String, String, Vec<String>) {
    let (url, asked) = server(answers);
    let mut output = Output::kept();
    let result = follow(&Client::of(&url), "t", true, &mut output).unwrap();
    assert_eq!(result["status"], "completed");
    let (text, notes) = output.into_texts();
    (text, notes, asked.join().unwrap().into_iter().map(|request| request.head).collect())
}

fn completed(seq: u64, text: &str) -> String {
    event(seq, "completed", &json!({"status": "completed", "result": text}))
}

#[test]
fn interrupted_stream_resumes_after_the_last_event() {
    let first = event(1, "queued", &json!({})) + &token(2, 1, "Hel") + "id: 3\nevent: tok";
    let rest = token(3, 1, "lo") + &completed(4, "Hello");
    let (text, notes, asked) = followed(vec![cut(&first), cut(&rest)]);
    assert_eq!((&*text, &*notes), ("Hello\n", ""));
    assert!(asked[0].contains("last-event-id: 0"), "{}", asked[0]);
    assert!(asked[1].contains("last-event-id: 2"), "{}", asked[1]);
}

#[test]
fn a_stream_without_its_end_is_completed_from_the_result() {
    let result = json!({"status": "completed", "result": "Hello"}).to_string();
    let gone = plain("204 No Content", "");
    let busy = plain("503 Service Unavailable", "{}");
    let answers = vec![cut(&token(2, 1, "Hel")), busy, gone, plain("200 OK", &result)];
    let (text, notes, asked) = followed(answers);
    assert_eq!((&*text, &*notes), ("Hello\n", ""));
    assert!(asked[3].starts_with("get /result/t"), "{}", asked[3]);
}

#[test]
fn lost_events_are_completed_from_the_result() {
    // The middle is missing: the printed text is not a prefix of the answer.
    let (text, notes, _) = followed(vec![cut(&(token(9, 1, "lo") + &completed(10, "Hello")))]);
    assert_eq!(text, "lo\nHello\n");
    assert!(notes.contains("discard"), "{notes}");
    // The end is missing.
    let (text, notes, _) = followed(vec![cut(&(token(2, 1, "Hel") + &completed(10, "Hello")))]);
    assert_eq!((&*text, &*notes), ("Hello\n", ""));
}

#[test]
fn new_attempt_prints_a_discard_notice() {
    let started = |seq, attempt| event(seq, "started", &json!({ "attempt": attempt }));
    let requeued = event(4, "requeued", &json!({"attempt": 1, "reason": "lost\u{1b}[2J"}));
    let stream = started(2, 1)
        + &token(3, 1, "Hal")
        + &requeued
        + &started(5, 2)
        + &token(6, 1, "void")
        + &token(7, 2, "Hello")
        + &completed(8, "Hello");
    let (text, notes, _) = followed(vec![cut(&stream)]);
    assert_eq!(text, "Hal\nHello\n");
    let told = "[back in the queue: lost\\u001b[2J]\n[attempt 2 begins: discard";
    assert!(notes.starts_with(told), "{notes}");
}

#[test]
fn refusal_ends_the_stream_immediately() {
    let (url, _asked) = server(vec![plain("404 Not Found", "{\"detail\":\"no such task\"}")]);
    let error = follow(&Client::of(&url), "t", true, &mut Output::kept()).unwrap_err();
    assert_eq!(error.to_string(), "404 no such task");
    let nobody = Client::of("http://127.0.0.1:1");
    let error = follow(&nobody, "t", false, &mut Output::kept()).unwrap_err();
    assert!(error.to_string().contains("no gateway answers"), "{error}");
}

#[test]
fn only_the_text_of_a_split_answer_goes_to_stdout() {
    let told = |seq: u64, text: &str, parts: Value| {
        event(seq, "token", &json!({"attempt": 1, "text": text, "parts": parts}))
    };
    let end = json!({"status": "completed", "result": "I look.", "reasoning": "Hm.\nYes."});
    let events = [
        told(2, "<think>Hm.", json!([{"kind": "reasoning", "text": "Hm."}])),
        told(3, "\nYes.</think>\n", json!([{"kind": "reasoning", "text": "\nYes.\u{1b}"}])),
        told(4, "I look.<tool", json!([{"kind": "text", "text": "I look."}])),
        told(
            5,
            "_call>{}</tool_call>",
            json!([
                {"kind": "tool_call", "call": {"name": "f", "arguments": {"a": 1}}},
                {"kind": "tool_call", "call": {"raw": "{}", "error": "no name"}},
                {"kind": "dance", "text": "a later version's"},
            ]),
        ),
        event(6, "completed", &end),
    ];
    let (text, notes, _) = followed(vec![cut(&events.concat())]);
    assert_eq!(text, "I look.\n");
    assert!(notes.starts_with("Hm.\nYes.\\u001b\n"), "{notes:?}");
    assert!(notes.contains("[calls f with {\"a\":1}]"), "{notes:?}");
    assert!(notes.contains("(no name): {}]"), "{notes:?}");
}
