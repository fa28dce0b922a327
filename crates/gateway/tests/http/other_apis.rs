//! Tests broken input on the routes of RunPod, Replicate and Ollama.

use protocol::ModelId;
use serde_json::{Value, json};

use crate::rig::Rig;

/// The routes that take a body, and the field that has the message of a refusal.
const ROUTES: [(&str, &str); 5] = [
    ("/v2/demo/run", "error"),
    ("/v2/demo/runsync", "error"),
    ("/v1/predictions", "detail"),
    ("/v1/models/any/demo/predictions", "detail"),
    ("/api/show", "error"),
];

#[test]
fn broken_bodies_are_refused_in_the_dialects_shape() {
    let rig = Rig::with(|options| {
        options.max_prompt_bytes = 512 << 10;
        options.images.max = 0; // they need room
    });
    let nested = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let nested_input = format!(r#"{{"version": "demo", "input": {{"messages": {nested}}}}}"#);
    let large = vec![b' '; 10 << 20];
    let bodies: [&[u8]; 14] = [
        b"",
        b"hello",
        b"{\"input\": {\"prompt\"",
        b"[]",
        b"null",
        b"{}",
        b"{}{}",
        b"{\"input\": \"\xff\xfe\"}",
        b"{\"input\": \"\\ud800\"}",
        br#"{"version": 7, "model": 7, "name": 7, "input": 7}"#,
        br#"{"version": "demo", "input": {"prompt": ["x"], "messages": "x"}}"#,
        nested.as_bytes(),
        nested_input.as_bytes(),
        &large,
    ];
    let client = rig.client().with("content-type", "application/json");
    for (path, field) in ROUTES {
        for body in bodies {
            let what = format!("{path} {}", String::from_utf8_lossy(&body[..body.len().min(60)]));
            let reply = client.send("POST", path, Some(body));
            let is_large = body.len() == large.len();
            let expected: &[u16] = if is_large { &[413] } else { &[400, 422] };
            assert!(expected.contains(&reply.status), "{what}: {reply:?}");
            let message: Value = reply.json()[field].clone();
            assert!(message.as_str().is_some_and(|text| !text.is_empty()), "{what}: {reply:?}");
        }
    }
    let depth = rig.wait(rig.broker.depth(&ModelId::new("demo"))).unwrap();
    assert_eq!((depth.queued, depth.processing), (0, 0), "nothing is left");
}

#[test]
fn null_is_the_same_as_absent() {
    let rig = Rig::start();
    let body = json!({
        "version": "demo", "webhook": null, "webhook_events_filter": null, "policy": null,
        "input": {
            "prompt": "x", "messages": null, "system_prompt": null, "sampling_params": null,
            "max_new_tokens": null, "stop_sequences": null, "n": null, "temperature": null,
        },
    });
    for (path, status) in [("/v2/demo/run", 200), ("/v1/predictions", 201)] {
        let reply = rig.client().post(path, &body);
        assert_eq!(reply.status, status, "{reply:?}");
    }
}
