//! Tests the SSE stream of a task.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use protocol::{Chunk, Outcome, Part, TaskId, ToolCall};
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{Rig, answer, task_id};

/// One event as a browser parses it.
#[derive(Debug, PartialEq)]
struct Seen {
    id: u64,
    name: String,
    data: Value,
}

struct Stream {
    lines: BufReader<Box<dyn Read>>,
    comments: Vec<String>,
}

impl Stream {
    fn open(client: &Client, id: TaskId, query: &str) -> Self {
        let response = client.open("GET", &format!("/events/{id}{query}"), None);
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body: Box<dyn Read> = Box::new(response.into_body().into_reader());
        Self { lines: BufReader::new(body), comments: Vec::new() }
    }

    /// Returns the next event, or `None` at the end.
    fn next(&mut self) -> Option<Seen> {
        let (mut id, mut name, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.parse().unwrap()),
                Some(("event", value)) => name = Some(value.to_owned()),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                Some(("", comment)) => self.comments.push(comment.to_owned()),
                Some(("retry", value)) => assert_eq!(value, "2000"),
                None if line.is_empty() => {
                    if let (Some(id), Some(name), Some(data)) = (id, name.take(), data.take()) {
                        return Some(Seen { id, name, data });
                    }
                }
                _ => panic!("{line:?}"),
            }
        }
    }

    fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn names(events: &[Seen]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn events_of_a_task_are_streamed_live() {
    let rig = Rig::start();
    let id = rig.submit("Tell me");
    let mut stream = Stream::open(&rig.client(), id, "");
    let mut next = || stream.next().unwrap();
    let queued = next();
    assert_eq!((queued.id, &*queued.name), (1, "queued"));
    assert!(queued.data["at"].as_u64().unwrap() > 1_700_000_000_000);

    let claimed = rig.claim();
    let started = next();
    assert_eq!((started.id, &*started.name, &started.data["attempt"]), (2, "started", &json!(1)));
    assert_eq!(started.data["worker"], json!(claimed.lease.worker));

    rig.publish(&claimed, &["Once ", "upon\n\n"]);
    let (first, second) = (next(), next());
    assert_eq!((first.id, &*first.name, &first.data["text"]), (3, "token", &json!("Once ")));
    assert_eq!((second.id, &second.data["text"]), (4, &json!("upon\n\n")));

    rig.finish(&claimed, &answer("Once upon\n\n"));
    let end = next();
    assert_eq!((end.id, &*end.name), (5, "completed"));
    assert_eq!(end.data, rig.client().get(&format!("/result/{id}")).json());
    assert_eq!(stream.next(), None, "the stream ends with the task");
}

#[test]
fn token_events_of_a_split_answer_have_parts() {
    let rig = Rig::start();
    let body = json!({"prompt": "Tell me", "enable_thinking": true});
    let id = task_id(&rig.client().post("/generate", &body).json());
    let claimed = rig.claim();
    let parts = vec![
        Part::Reasoning { text: "Hm.".into() },
        Part::Text { text: "I ".into() },
        Part::ToolCall { call: ToolCall::Malformed { raw: "x".into(), error: "y".into() } },
    ];
    let chunks = [
        Chunk { text: "<think>Hm.</think>I ".into(), parts: Some(parts), ..Chunk::default() },
        Chunk { text: "<too".into(), parts: Some(vec![]), ..Chunk::default() },
        Chunk::from("plain"),
    ];
    rig.wait(rig.broker.publish(&claimed.lease, 0, &chunks)).unwrap();
    rig.finish(&claimed, &answer("I "));
    let all = Stream::open(&rig.client(), id, "").rest();
    let parts = json!([
        {"kind": "reasoning", "text": "Hm."},
        {"kind": "text", "text": "I "},
        {"kind": "tool_call", "call": {"raw": "x", "error": "y"}},
    ]);
    let told: Vec<_> =
        all[2..5].iter().map(|event| (&event.data["text"], &event.data["parts"])).collect();
    assert_eq!(
        told,
        [
            (&json!("<think>Hm.</think>I "), &parts),
            (&json!("<too"), &json!([])),
            (&json!("plain"), &json!(null)),
        ]
    );
    assert!(all[4].data.get("parts").is_none(), "readers that know no parts see what they saw");
}

#[test]
fn stream_resumes_after_the_last_event_id() {
    let rig = Rig::start();
    let id = rig.submit("Tell me");
    let claimed = rig.claim();
    rig.publish(&claimed, &["a", "b", "c"]);
    rig.finish(&claimed, &answer("abc"));

    let all = Stream::open(&rig.client(), id, "").rest();
    assert_eq!(names(&all), ["queued", "started", "token", "token", "token", "completed"]);
    let ids: Vec<u64> = all.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);

    assert_eq!(Stream::open(&rig.client(), id, "?after=3").rest(), all[3..]);
    let header = rig.client().with("last-event-id", "5");
    assert_eq!(Stream::open(&header, id, "").rest(), all[5..]);
    assert_eq!(Stream::open(&header, id, "?after=1").rest(), all[5..], "the header is newer");
    assert_eq!(Stream::open(&rig.client(), id, "?after=0").rest(), all);

    let twice = Stream::open(&rig.client(), id, "?x=1&after=1&after=3").rest();
    assert_eq!(twice, all[3..], "the last word counts");

    let over = rig.client().get(&format!("/events/{id}?after=6"));
    assert_eq!((over.status, &*over.text), (204, ""), "browsers need not come again");
    for bad in ["x", "-1", "1.5", ""] {
        let problem = rig.client().get(&format!("/events/{id}?after={bad}")).problem();
        assert_eq!(problem["loc"], json!(["query", "after"]));
    }
    let bad = rig.client().with("last-event-id", "x").get(&format!("/events/{id}"));
    assert_eq!(bad.problem()["loc"], json!(["header", "last-event-id"]));
}

#[test]
fn retry_emits_requeued_and_restarts_the_answer() {
    let rig = Rig::start();
    let id = rig.submit("Tell me");
    let first = rig.claim();
    rig.publish(&first, &["half a"]);
    rig.fail(&first);
    let second = rig.claim();
    rig.publish(&second, &["all"]);
    rig.finish(&second, &answer("all"));

    let all = Stream::open(&rig.client(), id, "").rest();
    assert_eq!(
        names(&all),
        ["queued", "started", "token", "requeued", "started", "token", "completed"]
    );
    assert_eq!(all[3].data["reason"], "no memory");
    let attempts: Vec<&Value> = all.iter().map(|event| &event.data["attempt"]).collect();
    assert_eq!(attempts[1..6], [&json!(1), &json!(1), &json!(1), &json!(2), &json!(2)]);
}

#[test]
fn a_cancelled_task_ends_its_stream() {
    let rig = Rig::start();
    let id = rig.submit("Stop me");
    let claimed = rig.claim();
    let mut stream = Stream::open(&rig.client(), id, "?after=2");
    rig.client().send("POST", &format!("/cancel/{id}"), None);
    rig.finish(&claimed, &Outcome::CANCELLED);
    let rest = stream.rest();
    assert_eq!(names(&rest), ["cancelled"]);
    assert_eq!(rest[0].data["status"], "cancelled");
}

#[test]
fn keep_alive_comments_are_sent_while_idle() {
    let rig = Rig::with(|options| options.keep_alive = Duration::from_millis(200));
    let id = rig.submit("Wait for it");
    let mut stream = Stream::open(&rig.client(), id, "");
    assert_eq!(stream.next().unwrap().name, "queued");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1000));
            rig.finish(&rig.claim(), &answer("."));
        });
        assert_eq!(names(&stream.rest()), ["started", "completed"]);
    });
    let alive = stream.comments.iter().filter(|comment| *comment == "keep-alive").count();
    assert!(alive >= 2, "{:?}", stream.comments);
}

#[test]
fn long_answer_is_streamed_completely() {
    let rig = Rig::start();
    let id = rig.submit("At length");
    let claimed = rig.claim();
    let words: Vec<String> = (0..1500).map(|n| format!("{n} ")).collect();
    let mut stream = Stream::open(&rig.client(), id, "");
    for some in words.chunks(100) {
        rig.publish(&claimed, &some.iter().map(String::as_str).collect::<Vec<_>>());
    }
    rig.finish(&claimed, &answer(&words.concat()));
    let all = stream.rest();
    let text: String = all.iter().filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(text, words.concat());
    assert!(all.iter().zip(1..).all(|(event, n)| event.id == n), "no gap, no repetition");
}
