//! Tests slow and disconnecting clients, and the gateway's shutdown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::{Options, ServeError};
use protocol::ModelId;
use serde_json::json;

use crate::faulty_broker::{BrokerMode, FaultyBroker};
use crate::rig::{KEY, Rig, task_id};

#[test]
fn task_is_kept_when_the_client_hangs_up() {
    let rig = Rig::start();
    let body = r#"{"prompt": "I am gone"}"#;
    let mut socket = TcpStream::connect(rig.address).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST /generate HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut first = [0; 12];
    socket.read_exact(&mut first).unwrap();
    drop(socket);
    assert_eq!(&first, b"HTTP/1.1 202");
    assert_eq!(rig.claim().task.prompt, protocol::Prompt::user("I am gone"));
}

#[test]
fn slow_request_body_times_out() {
    let rig = Rig::with(|options| options.client_timeout = Duration::from_millis(500));
    let began = Instant::now();
    let mut socket = TcpStream::connect(rig.address).unwrap();
    write!(
        socket,
        "POST /generate HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 100\r\n\r\n{{"
    )
    .unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(reply.contains("The request body took too long to arrive"), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn slow_request_headers_time_out() {
    let rig = Rig::with(|options| options.client_timeout = Duration::from_millis(500));
    let mut socket = TcpStream::connect(rig.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"GET /health HTT").unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
}

#[test]
fn shutdown_finishes_requests_and_closes_streams() {
    let mode = Arc::new(Mutex::new(BrokerMode::Well));
    let mut rig = Rig::on(
        |broker| FaultyBroker::around(broker, &mode),
        |options| options.broker_timeout = Duration::from_secs(15),
    );
    let id = rig.submit("before");
    let stream = rig.client().open("GET", &format!("/events/{id}"), None);

    *mode.lock().unwrap() = BrokerMode::Slow;
    let client = rig.client();
    let asking = std::thread::spawn(move || client.post("/generate", &json!({"prompt": "late"})));
    std::thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    rig.request_stop();

    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 202, "{reply:?}");
    let mut text = String::new();
    stream.into_body().into_reader().read_to_string(&mut text).unwrap();
    assert!(text.ends_with(": the gateway is stopping\n\n"), "{text}");
    rig.stopped();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(TcpStream::connect(rig.address).is_err(), "nobody listens any more");

    *mode.lock().unwrap() = BrokerMode::Well;
    let late = rig.wait(rig.broker.snapshot(task_id(&reply.json()))).unwrap();
    assert!(late.is_some(), "what was accepted is there");
}

#[test]
fn gateway_does_not_start_without_api_keys() {
    let rig = Rig::start();
    let broker = Arc::clone(&rig.broker);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options::new(Vec::new(), ModelId::new("demo"));
    let ended = rig.wait(gateway::serve(listener, broker, options, std::future::pending()));
    assert!(matches!(ended, Err(ServeError::NoApiKeys)));
}

#[test]
fn half_closed_client_gets_its_response() {
    let rig = Rig::start();
    let mut socket = TcpStream::connect(rig.address).unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}
