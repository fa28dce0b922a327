//! Every route with every kind of broken input: the right status in the dialect's envelope, and
//! nothing is left behind.

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::rig::{ADMIN_KEY, Rig};

/// The form of a dialect's errors.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Envelope {
    /// `{"detail": …}`.
    Native,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// `{"error": …}`, as RunPod and Ollama have it.
    Text,
    /// Problem details, as Replicate has them.
    Problem,
}

impl Envelope {
    fn check(self, reply: &Reply, what: &str) {
        let body = reply.json();
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let is_right = match self {
            Self::Native => is_text(&body["detail"]) || body["detail"].is_array(),
            Self::OpenAi => {
                let error = &body["error"];
                is_text(&error["message"])
                    && is_text(&error["type"])
                    && error.get("param").is_some()
                    && error.get("code").is_some()
            }
            Self::Anthropic => {
                body["type"] == "error"
                    && is_text(&body["error"]["type"])
                    && is_text(&body["error"]["message"])
            }
            Self::Text => is_text(&body["error"]),
            Self::Problem => is_text(&body["title"]) && body["status"] == reply.status,
        };
        assert!(is_right, "{what}: {} {body}", reply.status);
    }

    /// Returns the statuses of a body that is no valid request.
    fn invalid(self) -> &'static [u16] {
        match self {
            Self::Native | Self::Problem => &[422],
            Self::OpenAi | Self::Anthropic | Self::Text => &[400],
        }
    }
}

use Envelope::{Anthropic, Native, OpenAi, Problem, Text};

/// The routes that take a JSON body, with a valid one for the model `demo`.
fn with_body() -> Vec<(Envelope, &'static str, Value)> {
    let messages = json!([{"role": "user", "content": "a"}]);
    vec![
        (Native, "/generate", json!({"model": "demo", "prompt": "a"})),
        (OpenAi, "/v1/chat/completions", json!({"model": "demo", "messages": messages})),
        (OpenAi, "/v1/completions", json!({"model": "demo", "prompt": "a"})),
        (OpenAi, "/v1/embeddings", json!({"model": "demo", "input": "a"})),
        (OpenAi, "/v1/responses", json!({"model": "demo", "input": "a"})),
        (OpenAi, "/v1/responses/input_tokens", json!({"model": "demo", "input": "a"})),
        (Anthropic, "/v1/messages/count_tokens", json!({"model": "demo", "messages": messages})),
        (Problem, "/v1/predictions", json!({"version": "demo", "input": {"prompt": "a"}})),
        (Text, "/v2/demo/run", json!({"input": {"prompt": "a"}})),
        (Text, "/v2/demo/runsync", json!({"input": {"prompt": "a"}})),
        (Text, "/api/show", json!({"model": "demo"})),
        (
            Anthropic,
            "/v1/messages",
            json!({"model": "demo", "max_tokens": 1, "messages": messages}),
        ),
    ]
}

/// The routes that name a thing by its id.
fn with_id() -> Vec<(Envelope, &'static str, &'static str)> {
    vec![
        (Native, "GET", "/status/{}"),
        (Native, "GET", "/result/{}"),
        (Native, "GET", "/events/{}"),
        (Native, "POST", "/cancel/{}"),
        (OpenAi, "GET", "/v1/models/{}"),
        (OpenAi, "GET", "/v1/responses/{}"),
        (OpenAi, "GET", "/v1/responses/{}/input_items"),
        (OpenAi, "POST", "/v1/responses/{}/cancel"),
        (OpenAi, "DELETE", "/v1/responses/{}"),
        (OpenAi, "GET", "/v1/files/{}"),
        (OpenAi, "GET", "/v1/files/{}/content"),
        (OpenAi, "DELETE", "/v1/files/{}"),
        (OpenAi, "GET", "/v1/batches/{}"),
        (OpenAi, "POST", "/v1/batches/{}/cancel"),
        (Problem, "GET", "/v1/predictions/{}"),
        (Problem, "GET", "/v1/predictions/{}/stream"),
        (Problem, "POST", "/v1/predictions/{}/cancel"),
        (Text, "GET", "/v2/demo/status/{}"),
        (Text, "GET", "/v2/demo/stream/{}"),
        (Text, "POST", "/v2/demo/cancel/{}"),
    ]
}

fn json_client(rig: &Rig) -> Client {
    rig.client().with("content-type", "application/json")
}

/// Checks that no task exists.
fn check_nothing_left(rig: &Rig, what: &str) {
    let health = rig.client().get("/health").json();
    assert_eq!((&health["queued"], &health["processing"]), (&json!(0), &json!(0)), "{what}");
}

#[test]
fn broken_bodies_are_refused_by_every_route() {
    let rig = Rig::with(|options| {
        options.max_prompt_bytes = 512 << 10; // chats up to 7 MiB
        options.images.max = 0; // they need room
    });
    let client = json_client(&rig);
    let nested = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let nested_field = format!(r#"{{"model": "demo", "messages": {nested}, "input": {nested}}}"#);
    let bodies: [(&str, &[u8]); 12] = [
        ("an empty body", b""),
        ("text", b"hello"),
        ("half an object", br#"{"model": "demo""#),
        ("an array", b"[]"),
        ("a string", br#""a""#),
        ("a number", b"1"),
        ("null", b"null"),
        ("two objects", b"{}{}"),
        ("invalid UTF-8", b"{\"model\": \"\xff\xfe\"}"),
        ("deep nesting", nested.as_bytes()),
        ("a deeply nested field", nested_field.as_bytes()),
        ("a lone surrogate", br#"{"model": "\ud800"}"#),
    ];
    for (envelope, path, _) in with_body() {
        for (what, body) in &bodies {
            let what = format!("{what} to {path}");
            let reply = client.send("POST", path, Some(body));
            let may_be_400 = reply.status == 400; // a body that breaks off
            assert!(may_be_400 || envelope.invalid().contains(&reply.status), "{what}: {reply:?}");
            envelope.check(&reply, &what);
        }
        let large = vec![b' '; 10 << 20];
        let reply = client.send("POST", path, Some(&large));
        assert_eq!(reply.status, 413, "10 MiB to {path}");
        envelope.check(&reply, path);
        let reply = client.send("PATCH", path, Some(b"{}"));
        assert_eq!(reply.status, 405, "PATCH {path}");
        envelope.check(&reply, path);
    }
    check_nothing_left(&rig, "after broken bodies");
}

#[test]
fn wrong_values_of_every_field_are_refused_by_every_route() {
    let rig = Rig::start();
    let client = json_client(&rig);
    for (envelope, path, valid) in with_body() {
        let fields: Vec<String> = valid.as_object().unwrap().keys().cloned().collect();
        for field in &fields {
            for wrong in [json!(-1), json!(true), json!({"a": [1]}), json!([{}]), json!([[true]])] {
                let mut body = valid.clone();
                body[field] = wrong;
                let what = format!("{body} to {path}");
                let reply = client.post(path, &body);
                assert!(envelope.invalid().contains(&reply.status), "{what}: {reply:?}");
                envelope.check(&reply, &what);
            }
        }
        let name = if envelope == Problem { "version" } else { "model" };
        if valid.get(name).is_none() {
            continue; // it is in the path
        }
        let mut unknown = valid.clone();
        unknown[name] = json!("no-such-model");
        let reply = client.post(path, &unknown);
        let expected = if [Native, Problem].contains(&envelope) { 422 } else { 404 };
        assert_eq!(reply.status, expected, "an unknown model to {path}: {reply:?}");
        envelope.check(&reply, path);
    }
    for path in ["/v2/no-such-model/run", "/v2/no-such-model/runsync"] {
        let reply = client.post(path, &json!({"input": {"prompt": "a"}}));
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        Text.check(&reply, path);
    }
    check_nothing_left(&rig, "after wrong values");
}

#[test]
fn unknown_ids_and_those_of_another_key_are_not_found() {
    let rig = Rig::start();
    let own = rig.submit("mine").to_string();
    let stored = rig
        .client()
        .post("/v1/responses", &json!({"model": "demo", "input": "a", "background": true}));
    let response = stored.json()["id"].as_str().unwrap().to_owned();
    let other = rig.client_with(Some(crate::rig::OTHER_KEY));
    let unknown = [
        "0192f0c1-2345-7abc-8def-0123456789ab",
        "resp_0192f0c123457abc8def0123456789ab",
        "x",
        "%00",
        "..%2f..%2fhealth",
        "%ff",
        &"a".repeat(4000),
    ];
    for (envelope, method, pattern) in with_id() {
        let ask = |client: &Client, id: &str| {
            let path = pattern.replace("{}", id);
            let reply = client.send(method, &path, None);
            let what = format!("{method} {}", &path[..path.len().min(80)]);
            assert!([400, 404, 422].contains(&reply.status), "{what}: {reply:?}");
            envelope.check(&reply, &what);
        };
        for id in unknown {
            ask(&rig.client(), id);
        }
        for id in [&own, &response] {
            ask(&other, id);
        }
    }
    let state = rig.client().get(&format!("/status/{own}")).json();
    assert_eq!(state["status"], "queued", "another key's requests changed nothing");
    let state = rig.client().get(&format!("/v1/responses/{response}")).json();
    assert_eq!(state["status"], "queued");
}

#[test]
fn clients_keys_and_no_keys_get_the_dialects_refusal() {
    let rig = Rig::operated();
    for (envelope, path, valid) in with_body() {
        for key in [None, Some("no-such-key"), Some(ADMIN_KEY)] {
            let reply = rig.client_with(key).post(path, &valid);
            assert_eq!(reply.status, 401, "{path} with {key:?}: {reply:?}");
            envelope.check(&reply, path);
        }
    }
    for (envelope, method, pattern) in with_id() {
        let path = pattern.replace("{}", "x");
        let reply = rig.client_with(None).send(method, &path, None);
        assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        envelope.check(&reply, &path);
    }
    check_nothing_left(&rig, "after refused keys");
}
