//! Streams that are read while their workers are asked to go, one after the other, as a cluster scales down.
#![allow(clippy::print_stdout)] // what was measured belongs to a test's output

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::models;
use harness::system::{Plan, System};
use serde_json::{Value, json};

use crate::frames::Frames;

const STREAMS: usize = 20;
const WORKERS: usize = 4;
const TOKENS: u64 = 120;
const LONG: Duration = Duration::from_secs(60);

/// A stream that has ended.
struct Stream {
    task: String,
    text: String,
    /// The tokens of the answer, as the last chunk reports them.
    tokens: Option<u64>,
    /// The number of chunks with a reason for the end.
    ends: usize,
}

/// What a client sees of its stream.
enum Sight {
    FirstText,
    End(Stream),
}

/// Returns the id of the task that a chunk belongs to.
fn task_of(chunk: &Value) -> String {
    let id = chunk["id"].as_str().and_then(|id| id.strip_prefix("chatcmpl-"));
    let id = id.unwrap_or_else(|| panic!("a completion's id: {chunk}"));
    let ends = [0, 8, 12, 16, 20, 32];
    ends.windows(2).map(|ends| &id[ends[0]..ends[1]]).collect::<Vec<_>>().join("-")
}

/// Requests a stream and reads it to its end.
fn read_stream(port: u16, model: &Value, n: usize, sights: &Sender<Sight>) {
    let body = json!({
        "model": model, "stream": true, "max_tokens": TOKENS, "temperature": 0,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": format!("{n} count")}],
    });
    let body = Client::new(port).stream("/v1/chat/completions", Some(&body)).expect("a stream");
    let mut stream = Stream { task: String::new(), text: String::new(), tokens: None, ends: 0 };
    for chunk in Frames::new(body) {
        stream.task = task_of(&chunk);
        stream.tokens = chunk["usage"]["completion_tokens"].as_u64();
        let choice = &chunk["choices"][0];
        stream.ends += usize::from(choice["finish_reason"].is_string());
        let text = choice["delta"]["content"].as_str().unwrap_or_default();
        if stream.text.is_empty() && !text.is_empty() {
            let _ = sights.send(Sight::FirstText);
        }
        stream.text.push_str(text);
    }
    let _ = sights.send(Sight::End(stream));
}

/// Waits for sights, in which `enough` streams ended at least; adds these to `ended`.
fn wait_for_ends(sights: &Receiver<Sight>, ended: &mut Vec<Stream>, enough: usize) {
    while ended.len() < enough {
        match sights.recv_timeout(LONG) {
            Ok(Sight::End(stream)) => ended.push(stream),
            Ok(Sight::FirstText) => {}
            Err(error) => panic!("{} of {enough} streams have ended: {error}", ended.len()),
        }
    }
}

#[test]
fn streams_outlast_the_workers_that_are_asked_to_go() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: WORKERS,
        lease: Duration::from_secs(3),
        // As in deploy/kubernetes: SIGTERM, and enough seconds for the answers that are being generated.
        settings: &[("DRAIN_SECONDS", "60"), ("MAX_BATCH_SIZE", "2"), ("KV_TOKENS", "2048")],
    };
    let mut system = System::start(&plan);
    let (port, model) =
        (system.client.port(), &system.client.get("/v1/models").body["data"][0]["id"]);
    let began = Instant::now();
    let mut ended = Vec::new();
    let mut asked = Vec::new();
    std::thread::scope(|scope| {
        let (sender, sights) = channel();
        for n in 0..STREAMS {
            let (sender, model) = (sender.clone(), model.clone());
            scope.spawn(move || read_stream(port, &model, n, &sender));
        }
        let mut begun = 0;
        while begun < WORKERS * 2 {
            match sights.recv_timeout(LONG).expect("all workers generate") {
                Sight::FirstText => begun += 1,
                Sight::End(stream) => ended.push(stream),
            }
        }
        for place in 0..WORKERS - 1 {
            system.workers[place].process().signal("TERM");
            asked.push(ended.len());
            // The next is asked when this one still drains.
            let more = ended.len() + 1;
            wait_for_ends(&sights, &mut ended, more);
        }
        wait_for_ends(&sights, &mut ended, STREAMS);
    });
    let seconds = began.elapsed().as_secs_f64();
    assert!(system.workers[WORKERS - 1].process().is_alive(), "the last worker is left");
    println!(
        "{STREAMS} streams in {seconds:.1} s; {asked:?} of them had ended when workers were asked to go"
    );
    for (place, asked) in asked.into_iter().enumerate() {
        let status = system.workers[place].process().wait(LONG);
        assert!(status.success(), "{status}");
        let drained =
            ended[asked..].iter().filter(|stream| system.workers[place].began(&stream.task, 1));
        assert!(drained.count() > 0, "worker {place} had no stream when it was asked to go");
    }

    for stream in &ended {
        let Stream { task, text, tokens, ends } = stream;
        assert_eq!((*ends, *tokens), (1, Some(TOKENS)), "{task} broke off after {text:?}");
        let result = system.client.get(&format!("/result/{task}")).body;
        assert_eq!(result["result"].as_str(), Some(text.as_str()), "{result}");
        let events = system.client.events(task);
        let named = |name: &str| events.iter().filter(|event| event.name == name).count();
        assert_eq!((named("started"), named("requeued")), (1, 0), "{task}: {events:?}");
    }
}
