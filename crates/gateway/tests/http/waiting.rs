//! Tests requests that wait for their task's end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome, TaskError};
use serde_json::json;

use crate::faulty_broker::{BrokerMode, FaultyBroker};
use crate::rig::{KEY, OTHER_KEY, Rig, answer, task_id};

/// Much longer than a wake-up takes, and much shorter than the wait that the tests request.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Sends a request on a new connection and leaves the response unread.
fn ask(rig: &Rig, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

fn rest(mut socket: TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn waiting_submit_returns_the_result() {
    let rig = Rig::start();
    let client = rig.client().with("prefer", "respond-async, wait=30");
    let began = Instant::now();
    let asking = std::thread::spawn(move || client.post("/generate", &json!({"prompt": "Why?"})));
    let claimed = rig.claim();
    rig.publish(&claimed, &["Be"]);
    std::thread::sleep(Duration::from_millis(100));
    rig.finish(&claimed, &answer("Because."));

    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(reply.header("preference-applied"), Some("wait=30"));
    let id = task_id(&reply.json());
    assert_eq!(reply.header("location"), Some(&*format!("/result/{id}")));
    assert_eq!(reply.json(), rig.client().get(&format!("/result/{id}")).json());
    assert_eq!(reply.json()["result"], "Because.");
}

#[test]
fn waiting_submit_returns_202_after_its_timeout() {
    let rig = Rig::start();
    let client = rig.client().with("prefer", "wait=1");
    let began = Instant::now();
    let reply = client.post("/generate", &json!({"prompt": "Why?"}));
    assert_eq!((reply.status, &reply.json()["status"]), (202, &json!("queued")), "{reply:?}");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(reply.header("preference-applied"), Some("wait=1"));
    assert!(reply.header("location").is_some());
    assert_eq!(task_id(&reply.json()), rig.claim().task.id);
}

#[test]
fn invalid_wait_preference_is_ignored() {
    let rig = Rig::start();
    let began = Instant::now();
    for (prefer, applied) in
        [("wait=soon", None), ("return=minimal", None), ("wait=0", Some("wait=0"))]
    {
        let reply =
            rig.client().with("prefer", prefer).post("/generate", &json!({"prompt": "Why?"}));
        assert_eq!((reply.status, reply.header("preference-applied")), (202, applied), "{prefer}");
    }
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    let refused = rig.client().with("prefer", "wait=30").post("/generate", &json!({}));
    assert_eq!(refused.status, 422, "what is refused is refused at once");
}

#[test]
fn status_and_result_wait_for_the_outcome() {
    let rig = Rig::start();
    let id = rig.submit("Why?");
    let began = Instant::now();
    let result = ask(&rig, &format!("/result/{id}?wait=30"));
    let status = ask(&rig, &format!("/status/{id}?wait=30"));
    std::thread::sleep(Duration::from_millis(100));
    let oom = Outcome::Failed(TaskError::new(ErrorType::OutOfMemory, "no room"));
    rig.finish(&rig.claim(), &oom);
    let (result, status) = (rest(result), rest(status));
    assert!(result.starts_with("HTTP/1.1 200") && result.contains("out_of_memory"), "{result}");
    assert!(status.starts_with("HTTP/1.1 200") && status.contains("\"failed\""), "{status}");
    // A task that has ended is returned without a wait.
    assert_eq!(rig.client().get(&format!("/result/{id}?wait=60")).status, 200);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

    let id = rig.submit("And now?");
    let asked = Instant::now();
    let pending = rig.client().get(&format!("/result/{id}?wait=1"));
    assert_eq!((pending.status, &pending.json()["status"]), (202, &json!("queued")));
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());

    let waiting = ask(&rig, &format!("/result/{id}?wait=30"));
    std::thread::sleep(Duration::from_millis(100));
    rig.client().send("POST", &format!("/cancel/{id}"), None);
    assert!(rest(waiting).contains("\"cancelled\""), "a cancel is an end too");
}

#[test]
fn invalid_wait_parameter_is_refused() {
    let rig = Rig::start();
    let id = rig.submit("Why?");
    for (bad, kind) in [("61", "less_than_equal"), ("x", "int_parsing"), ("", "int_parsing")] {
        for path in ["status", "result"] {
            let problem = rig.client().get(&format!("/{path}/{id}?wait={bad}")).problem();
            assert_eq!(problem["loc"], json!(["query", "wait"]));
            assert_eq!(problem["type"], kind, "{bad}");
        }
    }
    let stranger = rig.client_with(Some(OTHER_KEY));
    assert_eq!(stranger.get(&format!("/result/{id}?wait=60")).status, 404, "and at once");
}

#[test]
fn waiting_requests_end_at_shutdown() {
    let mut rig = Rig::start();
    let id = rig.submit("Why?");
    let result = ask(&rig, &format!("/result/{id}?wait=60"));
    let client = rig.client().with("prefer", "wait=60");
    let asking = std::thread::spawn(move || client.post("/generate", &json!({"prompt": "So?"})));
    std::thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    rig.request_stop();
    let (result, submit) = (rest(result), asking.join().unwrap());
    rig.stopped();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert!(result.starts_with("HTTP/1.1 202") && result.contains("\"queued\""), "{result}");
    assert_eq!(submit.status, 202, "{submit:?}");
}

#[test]
fn waiting_requests_end_when_the_client_hangs_up() {
    let rig = Rig::start();
    let id = rig.submit("Why?");
    let began = Instant::now();
    let socket = ask(&rig, &format!("/result/{id}?wait=20"));
    std::thread::sleep(Duration::from_millis(300));
    socket.shutdown(Shutdown::Write).unwrap();
    // A client that shut down only its writing side gets a response with the current state.
    assert!(rest(socket).starts_with("HTTP/1.1 202"));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[test]
fn waiting_requests_survive_an_outage_of_the_queue() {
    let mode = Arc::new(Mutex::new(BrokerMode::Well));
    let rig = Rig::on(|broker| FaultyBroker::around(broker, &mode), |_| {});
    let id = rig.submit("Why?");
    let waiting = ask(&rig, &format!("/result/{id}?wait=30"));
    std::thread::sleep(Duration::from_millis(300));
    *mode.lock().unwrap() = BrokerMode::Away;
    let claimed = rig.claim(); // wakes, and the read fails
    std::thread::sleep(Duration::from_millis(300));
    *mode.lock().unwrap() = BrokerMode::Well;
    rig.finish(&claimed, &answer("Because."));
    assert!(rest(waiting).contains("Because."));
}

#[test]
fn a_stream_ends_when_its_client_hangs_up() {
    let rig = Rig::start(); // says that it is there every 10 s: a hang-up is noticed earlier
    let id = rig.submit("Tell me");
    let began = Instant::now();
    let socket = ask(&rig, &format!("/events/{id}"));
    std::thread::sleep(Duration::from_millis(300));
    socket.shutdown(Shutdown::Write).unwrap();
    let text = rest(socket);
    assert!(text.contains("event: queued") && !text.contains("keep-alive"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
