//! A key that is taken away stops everywhere within a second, open streams included.
#![allow(clippy::print_stdout)] // what was measured belongs to the test's output

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::client::Client;
use harness::process::{ADMIN_KEY, KEY};
use harness::system::{Plan, System};
use harness::{models, wait_for};
use serde_json::{Value, json};

use crate::{Made, PROMPT, make_key};

/// How a key is taken away.
#[derive(Debug, Clone, Copy)]
enum Act {
    Revoke,
    Block,
    Expire,
    Rotate,
}

impl Act {
    const ALL: [Self; 4] = [Self::Revoke, Self::Block, Self::Expire, Self::Rotate];

    /// Does it through the gateway on `port`. Returns when it holds, and the key's new text, if it has one.
    fn do_to(self, port: u16, made: &Made) -> (Instant, Option<String>) {
        let admin = Client::with_key(port, ADMIN_KEY);
        let path = format!("/admin/keys/{}", made.id);
        let now = Instant::now();
        match self {
            Self::Revoke => {
                assert_eq!(admin.delete(&path).status, 200);
                (now, None)
            }
            Self::Block => {
                assert_eq!(admin.patch(&path, &json!({"blocked": true})).status, 200);
                (now, None)
            }
            Self::Expire => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                let at = since + Duration::from_millis(300);
                let body = json!({"expires_at": u64::try_from(at.as_millis()).expect("a time")});
                let answer = admin.patch(&path, &body);
                assert_eq!(answer.status, 200, "{answer:?}");
                (now + Duration::from_millis(300), None)
            }
            Self::Rotate => {
                let answer = admin.post(&format!("{path}/rotate"), &json!({}));
                assert_eq!(answer.status, 200, "{answer:?}");
                (now, Some(answer.body["key"].as_str().expect("a key").to_owned()))
            }
        }
    }
}

/// Reads a stream to its end. Returns when it ended, and its text.
fn read_out(mut stream: impl BufRead) -> (Instant, String) {
    let mut text = String::new();
    // A stream that breaks off has ended too.
    while matches!(stream.read_line(&mut text), Ok(1..)) {}
    (Instant::now(), text)
}

#[test]
fn key_that_is_taken_away_stops_everywhere_within_a_second() {
    let slow = models::slow();
    let plan = Plan {
        model: slow.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(3),
        settings: &[("ADMIN_API_KEY", ADMIN_KEY), ("MAX_NEW_TOKENS", "100000")],
    };
    let system = System::start(&plan);
    let (_other, other) = system.another_gateway();
    let ports = [system.client.port(), other.port()];
    for act in Act::ALL {
        let owner = format!("owner-{act:?}").to_lowercase();
        let made = make_key(ports[0], &json!({"name": "taken away", "owner": owner}));
        let clients = ports.map(|port| Client::with_key(port, &made.key));
        let body = json!({"prompt": "count", "raw": true, "max_tokens": 20000, "temperature": 0.0});
        let task = clients[0].submit(&body);
        clients[1].wait_for_state(&task, "processing");
        // Warms both gateways, and opens a stream and a wait at each.
        let path = format!("/events/{task}");
        let (began, reply) = thread::scope(|scope| {
            let streams: Vec<_> = clients
                .iter()
                .map(|client| {
                    let stream = client.stream(&path, None).expect("a stream");
                    scope.spawn(move || read_out(BufReader::new(stream)))
                })
                .collect();
            let waits: Vec<_> = clients
                .iter()
                .map(|client| {
                    let path = format!("/result/{task}?wait=30");
                    scope.spawn(move || (client.get(&path), Instant::now()))
                })
                .collect();
            thread::sleep(Duration::from_millis(500));
            let (at, fresh) = act.do_to(ports[1], &made);
            for client in &clients {
                wait_for("the key to be refused", Duration::from_secs(5), || {
                    (client.get(&format!("/status/{task}")).status == 401).then_some(())
                });
                assert!(at.elapsed() <= PROMPT, "{act:?}: refused after {:?}", at.elapsed());
            }
            for stream in streams {
                let (ended, text) = stream.join().expect("a reader");
                assert!(ended.saturating_duration_since(at) <= PROMPT, "{act:?}: a stream went on");
                assert!(!text.contains("event: completed"), "{act:?}: {text}");
                assert!(
                    text.contains("event: error"),
                    "{act:?}: no reason at the end: {}",
                    tail(&text)
                );
            }
            for wait in waits {
                let (answer, ended) = wait.join().expect("a client");
                assert!(ended.saturating_duration_since(at) <= PROMPT, "{act:?}: a wait went on");
                assert_eq!(answer.status, 401, "{act:?}: {answer:?}");
            }
            (at, fresh)
        });
        println!("{act:?}: refused everywhere {:?} after it held", began.elapsed());
        // The owner's task is there for another key of the owner.
        let key = reply
            .unwrap_or_else(|| make_key(ports[0], &json!({"name": "another", "owner": owner})).key);
        for port in ports {
            let client = Client::with_key(port, &key);
            let answer = wait_for("the new key", PROMPT, || {
                Some(client.get(&format!("/status/{task}"))).filter(|answer| answer.status == 200)
            });
            assert_eq!(answer.body["status"], "processing", "{answer:?}");
        }
        let answer =
            Client::with_key(ports[0], &key).post(&format!("/cancel/{task}"), &Value::Null);
        assert!([200, 202].contains(&answer.status), "{answer:?}");
        assert_eq!(Client::with_key(ports[0], KEY).get(&format!("/status/{task}")).status, 404);
    }
}

fn tail(text: &str) -> &str {
    let from = text.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
    &text[from..]
}
