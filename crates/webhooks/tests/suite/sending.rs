//! Tests of `Sender`: what arrives, what is refused, and that no receiver can block it or fill its
//! memory.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::receiver::{Receiver, ReceiverReply};
use webhooks::guard::{LookupError, UrlRefused};
use webhooks::send::Message;
use webhooks::{Answer, Guard, SendError, Sender};

const LIMIT: Duration = Duration::from_secs(2);

fn sender(allow_private: bool) -> Sender {
    Sender::new(Guard { allow_private }, LIMIT).unwrap()
}

fn message() -> Message {
    Message {
        id: "msg_1".into(),
        timestamp_s: 1_614_265_330,
        signature: "v1,abc=".into(),
        body: b"{\"a\": 1}".to_vec(),
    }
}

async fn send(url: &str) -> Result<Answer, SendError> {
    sender(true).send(url, message()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_unchanged_with_its_headers() {
    let receiver = Receiver::kind();
    let answer = send(&receiver.url("/hook?token=x%20y#part")).await.unwrap();
    assert_eq!(answer, Answer { status: 204, retry_after: None });
    let heard = &receiver.heard()[0];
    assert_eq!(heard.line, "POST /hook?token=x%20y HTTP/1.1");
    assert_eq!(heard.body, b"{\"a\": 1}");
    for (name, value) in [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,abc="),
        ("content-type", "application/json"),
        ("content-length", "8"),
        ("host", receiver.url("").trim_start_matches("http://")),
    ] {
        assert_eq!(heard.header(name), value, "{name}");
    }
    assert!(heard.header("user-agent").starts_with("qwen-queue-webhooks/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let target = Receiver::kind();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", target.url("/"));
        let receiver = Receiver::start(move |_| ReceiverReply::Answer(status, location.clone()));
        assert_eq!(send(&receiver.url("/")).await.unwrap().status, status);
    }
    assert!(target.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_receiver_times_out() {
    let receiver = Receiver::start(|_| ReceiverReply::Silence);
    let began = Instant::now();
    let error = send(&receiver.url("/")).await.unwrap_err();
    assert_eq!(error, SendError::Late(LIMIT));
    assert_eq!(error.to_string(), "the receiver did not answer within 2 s");
    assert!(began.elapsed() >= LIMIT && began.elapsed() < LIMIT * 2, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_sends_its_head_slowly_times_out() {
    // Accepts, sends a byte now and then, and never completes the head.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(send(&url).await, Err(SendError::Late(LIMIT)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_dropped_and_the_status_counts() {
    let receiver = Receiver::start(|_| ReceiverReply::Endless);
    let began = Instant::now();
    assert_eq!(send(&receiver.url("/")).await.unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_millis(300));
    let written = receiver.written();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(receiver.written(), written, "the connection is closed");
    assert!(written < 16 << 20, "what the buffers on the way take: {written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_head_is_an_error() {
    let head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'x'; 1 << 20]].concat();
    let receiver = Receiver::start(move |_| ReceiverReply::Bytes(head.clone()));
    assert_eq!(send(&receiver.url("/")).await, Err(SendError::Broken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_http_is_an_error() {
    for bytes in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"", b"HTTP/1.1 200"] {
        let receiver = Receiver::start(move |_| ReceiverReply::Bytes(bytes.to_vec()));
        assert_eq!(send(&receiver.url("/")).await, Err(SendError::Broken), "{bytes:?}");
    }
    let plain = Receiver::kind();
    let url = plain.url("/").replace("http://", "https://");
    assert_eq!(send(&url).await, Err(SendError::Tls));
    let closed = format!("http://127.0.0.1:{}/", harness::free_port());
    assert_eq!(send(&closed).await, Err(SendError::Connect));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_never_connected_to_unless_allowed() {
    let receiver = Receiver::kind();
    let outside = sender(false);
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
        let sent = outside.send(&format!("http://{host}:{port}/"), message()).await;
        assert_eq!(sent, Err(SendError::Url(UrlRefused::NotPublic)), "{host}");
    }
    // Names of this machine that no list can contain: they pass the check of form and resolve to
    // here.
    let mut tried = 0;
    for name in own_names() {
        let sent = outside.send(&format!("http://{name}:{port}/"), message()).await;
        assert_eq!(sent, Err(SendError::Lookup(LookupError::NotPublic)), "{name}");
        tried += 1;
    }
    assert!(tried > 0, "/etc/hosts names this machine");
    assert!(receiver.heard().is_empty());
}

/// Returns the names that `/etc/hosts` gives to private addresses, except `localhost`.
fn own_names() -> Vec<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address: std::net::IpAddr = words.next()?.parse().ok()?;
            let is_own = address.is_loopback()
                || matches!(address, std::net::IpAddr::V4(address) if address.is_private());
            is_own.then(|| words.map(str::to_owned).collect::<Vec<_>>())
        })
        .flatten()
        .filter(|name| name != "localhost" && !name.ends_with(".localhost"))
        .collect()
}
