//! Tests requests written as raw bytes, which clients and proxies send and no HTTP library would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{ADMIN_KEY, KEY, Rig, answer};

/// Sends the pieces one after the other, with pauses in between, and reads until the gateway
/// closes.
fn talk(rig: &Rig, pieces: &[&str]) -> String {
    let mut stream = connect(rig);
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("the gateway closes the connection");
    String::from_utf8(text).unwrap()
}

fn connect(rig: &Rig) -> TcpStream {
    let stream = TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Returns the status and the body of a response that is not chunked.
fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer:?}")), body)
}

fn json(answer: &str) -> Value {
    serde_json::from_str(parts(answer).1).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[test]
fn post_without_a_body_is_accepted_in_every_http_version() {
    let rig = Rig::operated();
    let worker = rig.report("demo", protocol::WorkerStatus::Ready);
    let close = "Connection: close\r\n";
    for (version, more) in [
        ("1.0", ""), // nginx, unless told otherwise
        ("1.0", close),
        ("1.0", "Content-Length: 0\r\n"),
        ("1.1", close),
        ("1.1", "Connection: close\r\nContent-Length: 0\r\n"),
    ] {
        let id = rig.submit("hello");
        let head = |path: &str, key: &str| {
            format!("POST {path} HTTP/{version}\r\nHost: x\r\nX-API-Key: {key}\r\n{more}\r\n")
        };
        let cancel = head(&format!("/cancel/{id}"), KEY);
        let (one, two) = cancel.split_at(cancel.len() - 3);
        let answer = talk(&rig, &[one, two]);
        assert_eq!(parts(&answer).0, 200, "{version} {more:?}: {answer}");
        assert_eq!(json(&answer)["status"], "cancelled", "{version} {more:?}");

        let drain = talk(&rig, &[&head(&format!("/admin/workers/{worker}/drain"), ADMIN_KEY)]);
        assert_eq!(parts(&drain).0, 202, "{version} {more:?}: {drain}");

        // Where a body is required, the API's own error reports that it is missing.
        let empty = talk(&rig, &[&head("/generate", KEY)]);
        assert_eq!(parts(&empty).0, 422, "{version} {more:?}: {empty}");
        assert_eq!(json(&empty)["detail"][0]["type"], "missing");
    }
    // An empty chunked body counts as no body.
    let id = rig.submit("hello");
    let head = format!(
        "POST /cancel/{id} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n{close}Transfer-Encoding: chunked\r\n\r\n"
    );
    let answer = talk(&rig, &[&head, "0\r\n\r\n"]);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let generate = head.replace(&format!("/cancel/{id}"), "/generate");
    let empty = talk(&rig, &[&generate, "0\r\n\r\n"]);
    assert_eq!(parts(&empty).0, 422, "{empty}");
}

#[test]
fn pipelined_http_1_0_requests_are_separated() {
    let rig = Rig::start();
    let (first, second) = (rig.submit("hello"), rig.submit("hello"));
    let keep = "Connection: keep-alive\r\n";
    let body = r#"{"prompt": "POST /cancel/x HTTP/1.0"}"#;
    let requests = format!(
        "POST /cancel/{first} HTTP/1.0\r\nX-API-Key: {KEY}\r\n{keep}\r\n\
         POST /generate HTTP/1.0\r\nX-API-Key: {KEY}\r\n{keep}Content-Length: {}\r\n\r\n{body}\
         POST /cancel/{second} HTTP/1.0\r\nX-API-Key: {KEY}\r\n\r\n",
        body.len()
    );
    let answers = talk(&rig, &[&requests]);
    let statuses: Vec<&str> = answers.split("HTTP/1.0 ").skip(1).map(|one| &one[..3]).collect();
    assert_eq!(statuses, ["200", "202", "200"], "{answers}");
}

#[test]
fn http_1_0_stream_is_not_chunked_and_ends_with_the_connection() {
    let rig = Rig::start();
    let id = rig.submit("hello");
    for (more, live) in
        [("", true), ("Connection: keep-alive\r\n", false), ("Accept: */*\r\n", false)]
    {
        let mut stream = connect(&rig);
        let request =
            format!("GET /events/{id} HTTP/1.0\r\nHost: x\r\nX-API-Key: {KEY}\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        if live {
            // Events arrive while the stream is open.
            let mut seen = String::new();
            let mut buffer = [0; 4096];
            while !seen.contains("event: queued") {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "it ended: {seen}");
                seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            let claimed = rig.claim();
            rig.publish(&claimed, &["Hello", " world"]);
            rig.finish(&claimed, &answer("Hello world"));
        }
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it ends with the task");
        assert!(rest.contains("event: completed\ndata: {"), "{rest}");
        assert!(rest.ends_with("}\n\n"), "no chunk's end: {rest:?}");
        if !live {
            let head = rest.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
            assert!(head.starts_with("http/1.0 200"), "{head}");
            assert!(head.contains("text/event-stream"), "{head}");
            assert!(!head.contains("chunked") && !head.contains("keep-alive"), "{head}");
            assert!(rest.contains("\r\n\r\nretry: "), "no chunk's size: {rest}");
        }
    }
    // HTTP/1.1 responses are still chunked.
    let head = format!("GET /events/{id} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n");
    let chunked = talk(&rig, &[&format!("{head}Connection: close\r\n\r\n")]);
    assert!(chunked.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{chunked}");
    assert!(chunked.ends_with("0\r\n\r\n"), "{chunked}");
}
