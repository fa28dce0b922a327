//! Tests refusals of OpenAI's routes.

use serde_json::{Value, json};

use crate::openai::{CHAT, COMPLETIONS, EMBEDDINGS, answered, chat};
use crate::rig::{Rig, answer};

/// Checks the form of an error and returns its status, type, param and code.
fn error(reply: &crate::client::Reply) -> (u16, String, Value, Value) {
    let body = reply.json();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
    assert_eq!((body.as_object().unwrap().len(), error.len()), (1, 4), "{body}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    let kind = error["type"].as_str().unwrap().to_owned();
    (reply.status, kind, error["param"].clone(), error["code"].clone())
}

fn invalid(status: u16, param: Value, code: &str) -> (u16, String, Value, Value) {
    (status, "invalid_request_error".into(), param, json!(code))
}

#[test]
fn refusals_have_openais_form() {
    let rig = Rig::with(|options| {
        options.max_prompt_bytes = 1024;
        options.images.max = 0; // they need room
    });
    let client = rig.client();
    let stranger = rig.client_with(Some("wrong"));
    for reply in [stranger.get("/v1/models"), stranger.post(CHAT, &chat(json!({})))] {
        let expected = (401, "authentication_error".into(), json!(null), json!("invalid_api_key"));
        assert_eq!(error(&reply), expected);
    }
    assert_eq!(error(&client.get("/v1/nothing")), invalid(404, json!(null), "no_such_path"));
    for path in [CHAT, COMPLETIONS, EMBEDDINGS] {
        let reply = client.get(path);
        assert_eq!(error(&reply), invalid(405, json!(null), "method_not_allowed"));
        assert_eq!(reply.header("allow"), Some("POST"));
        let large = json!({"messages": "x".repeat(5 << 20)});
        assert_eq!(error(&client.post(path, &large)), invalid(413, json!(null), "body_too_large"));
        let plain =
            client.clone().with("content-type", "text/plain").send("POST", path, Some(b"{}"));
        assert_eq!(error(&plain), invalid(415, json!(null), "unsupported_media_type"));
        for (body, code) in [
            (&b"{"[..], "invalid_value"),
            (b"[]", "invalid_value"),
            (b"{}", "missing_required_parameter"),
        ] {
            let client = client.clone().with("content-type", "application/json");
            let (status, kind, _, found) = error(&client.send("POST", path, Some(body)));
            assert_eq!((status, &*kind, found), (400, "invalid_request_error", json!(code)));
        }
        let unknown = json!({"model": "gpt-9", "messages": [], "prompt": "", "input": ""});
        let reply = client.post(path, &unknown);
        assert_eq!(error(&reply), invalid(404, json!("model"), "model_not_found"));
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
}

#[test]
fn refused_parameters_are_named() {
    let rig = Rig::start();
    let client = rig.client();
    for (fields, param, code) in [
        (json!({"audio": {"voice": "x"}}), "audio", "unsupported_parameter"),
        (json!({"functions": [{"name": "f"}]}), "functions", "unsupported_parameter"),
        (json!({"n": 100}), "n", "invalid_value"),
        (json!({"messages": [{"role": "robot"}]}), "messages.0.role", "invalid_value"),
        (json!({"messages": null}), "messages", "missing_required_parameter"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "nonsense"}}}}),
            "response_format.json_schema.schema.type",
            "invalid_value",
        ),
    ] {
        for stream in [false, true] {
            let mut body = chat(fields.clone());
            body["stream"] = json!(stream);
            let found = error(&client.post(CHAT, &body));
            assert_eq!(found, invalid(400, json!(param), code), "{fields}");
        }
    }
}

#[test]
fn aliases_stand_for_models() {
    let rig =
        Rig::with(|options| options.model_aliases = "gpt-4o=demo,small=default".parse().unwrap());
    for (name, status) in [("gpt-4o", 200), ("small", 200), ("", 200)] {
        let mut body = chat(json!({}));
        body["model"] = json!(name);
        let (reply, claimed) = answered(&rig, CHAT, body, &answer("."));
        assert_eq!((reply.status, claimed.task.model.as_str()), (status, "demo"));
        assert_eq!(reply.json()["model"], "demo");
    }
    let reply =
        rig.client().post(CHAT, &crate::openai::with(chat(json!({})), json!({"model": "x"})));
    assert_eq!(reply.status, 404);
}

#[test]
fn a_full_queue_is_a_rate_limit() {
    let rig = Rig::with(|options| options.max_queue_size = 1);
    rig.submit("first");
    let reply = rig.client().post(CHAT, &chat(json!({})));
    let expected = (429, "requests".into(), json!(null), json!("rate_limit_exceeded"));
    assert_eq!(error(&reply), expected);
    assert!(reply.header("retry-after").is_some());
}
