//! A response's stream that is cut at every event, and resumed at another gateway.

use std::time::Duration;

use harness::client::Client;
use harness::models;
use harness::system::{Plan, System};
use serde_json::{Value, json};

use crate::frames::Frames;

/// Opens a response's stream after an event. Returns `None` if the gateway does not respond.
fn resume(
    client: &Client,
    id: &str,
    after: Option<u64>,
) -> Option<impl Iterator<Item = Value> + use<>> {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    client.stream(&format!("/v1/responses/{id}?stream=true{after}"), None).map(Frames::new)
}

fn number(event: &Value) -> u64 {
    event["sequence_number"].as_u64().unwrap_or_else(|| panic!("an event's number: {event}"))
}

/// Returns the text of all deltas.
fn text(events: &[Value]) -> String {
    let is_delta = |event: &&Value| event["type"] == "response.output_text.delta";
    events.iter().filter(is_delta).map(|e| e["delta"].as_str().expect("a delta")).collect()
}

/// Checks that the events are numbered without gaps, end the response, and have its stored text.
fn check(events: &[Value], client: &Client, id: &str) {
    let numbers: Vec<u64> = events.iter().map(number).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "each event once, in order");
    let last = events.last().expect("events");
    assert!(
        ["response.completed", "response.incomplete"]
            .contains(&last["type"].as_str().expect("a type")),
        "{last}"
    );
    let stored = client.get(&format!("/v1/responses/{id}")).body;
    assert_eq!(text(events), stored["output"][0]["content"][0]["text"].as_str().expect("a text"));
    assert!(!text(events).is_empty());
}

#[test]
fn a_stream_that_is_cut_at_every_event_yields_the_text_once() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(3),
        settings: &[],
    };
    let mut system = System::start(&plan);
    let (_second, other) = system.another_gateway();
    let served = system.client.get("/v1/models").body["data"][0]["id"].clone();
    let body = json!({
        "model": served, "input": "count", "background": true, "stream": true,
        "max_output_tokens": 400, "temperature": 0,
    });
    let first = system.client.stream("/v1/responses", Some(&body)).expect("a stream");
    let created = Frames::new(first).next().expect("the first event"); // and cut
    let id = created["response"]["id"].as_str().expect("an id").to_owned();

    let mut events = vec![created];
    let mut is_killed = false;
    while events.last().is_some_and(|event| {
        event["response"]["status"] != "completed" && event["response"]["status"] != "incomplete"
    }) {
        let after = events.last().map(number);
        let client = if events.len().is_multiple_of(2) { &system.client } else { &other };
        // The gateway that was killed does not respond; the client goes to the other.
        let stream = resume(client, &id, after).or_else(|| resume(&other, &id, after));
        let mut stream = stream.expect("one gateway responds");
        events.push(stream.next().unwrap_or_else(|| panic!("an event after {after:?}")));
        if events.len() == 12 {
            let mut open = resume(&system.client, &id, Some(1)).expect("a stream");
            assert_eq!(open.next().as_ref().map(number), Some(2));
            system.gateway.kill_9();
            assert!(open.count() < 1000, "the stream ends with its gateway");
            is_killed = true;
        }
        if events.len() == 24 {
            system.gateway.start();
            system.client.wait_until_healthy(system.gateway.process(), true);
        }
    }
    assert!(is_killed, "the response had only {} events", events.len());
    system.gateway.start();
    system.client.wait_until_healthy(system.gateway.process(), true);
    check(&events, &other, &id);

    // Afterwards, the rest is the same after each event, at both gateways.
    for after in 0..events.len() {
        let client = if after.is_multiple_of(2) { &system.client } else { &other };
        let rest: Vec<Value> = resume(client, &id, Some(after as u64)).expect("a stream").collect();
        let numbers: Vec<u64> = rest.iter().map(number).collect();
        let expected: Vec<u64> = (after as u64 + 1..events.len() as u64).collect();
        assert_eq!(numbers, expected, "after event {after}");
        assert_eq!(text(&rest), text(&events[after + 1..]), "after event {after}");
    }
}
