//! Tests the bytes that a connection delivers, for input split at different places.

use std::io::Write;
use std::net::{Shutdown, TcpListener};

use tokio::io::AsyncReadExt;

use super::*;

/// Returns the bytes that the server reads when `pieces` arrive one after the other.
fn read(pieces: &[&[u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = Stream::new(TcpStream::from_std(server).unwrap());
        let mut all = Vec::new();
        for piece in pieces {
            client.write_all(piece).unwrap();
            // The pause separates the pieces into single reads.
            let pause = tokio::time::Duration::from_millis(2);
            let mut buffer = [0; 7];
            while let Ok(count) = tokio::time::timeout(pause, stream.read(&mut buffer)).await {
                all.extend_from_slice(&buffer[..count.unwrap()]);
            }
        }
        client.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut all).await.unwrap();
        String::from_utf8(all).unwrap()
    })
}

#[test]
fn post_without_content_length_gets_one() {
    let head = "POST /cancel/x HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mended =
        "POST /cancel/x HTTP/1.0\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read(&[head.as_bytes()]), mended);
    for at in 1..head.len() {
        let (one, two) = head.split_at(at);
        assert_eq!(read(&[one.as_bytes(), two.as_bytes()]), mended, "cut at {at}");
    }
    assert_eq!(read(&[b"POST / HTTP/1.0\n\n"]), "POST / HTTP/1.0\nContent-Length: 0\r\n\n");
    assert_eq!(
        read(&[b"\r\nPOST / HTTP/1.0\r\n\r\n"]),
        "\r\nPOST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn every_request_head_is_inspected_but_no_body() {
    let body = "POST / HTTP/1.0\r\n\r\n";
    let first = format!("POST /a HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let second = "POST /b HTTP/1.0\r\nX: y\r\n\r\n";
    let third = "GET /c HTTP/1.0\r\n\r\n";
    let all = format!("{first}{second}{third}{second}");
    let mended = "POST /b HTTP/1.0\r\nX: y\r\nContent-Length: 0\r\n\r\n";
    let expected = format!("{first}{mended}{third}{mended}");
    assert_eq!(read(&[all.as_bytes()]), expected);
    for at in (1..all.len()).step_by(5) {
        let (one, two) = all.split_at(at);
        assert_eq!(read(&[one.as_bytes(), two.as_bytes()]), expected, "cut at {at}");
    }
}

#[test]
fn all_other_requests_pass_unchanged() {
    let long = "x".repeat(MAX_HEAD);
    for text in [
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "PUT / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.0\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.0\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.0\r\nbad header\r\n\r\n",
        "POST / HTTP/1.0",
        "POST / HTTP/1.0\r\nX: y\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "hello\n",
        "\r\n\r\n",
        "",
        &format!("POST / HTTP/1.0\r\nX: {long}"),
        &long,
    ] {
        let shown = &text[..text.len().min(80)];
        assert_eq!(read(&[text.as_bytes()]), text, "{shown:?}");
        let (one, two) = text.split_at(text.len() / 2);
        assert_eq!(read(&[one.as_bytes(), two.as_bytes()]), text, "{shown:?} in two");
    }
}
