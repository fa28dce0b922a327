//! Tests `messages` of `POST /generate`, and the logprobs of its stream.

use protocol::{Chunk, Message, Part, Prompt, Role, TokenLogprob, TokenLogprobs};
use serde_json::{Value, json};

use crate::rig::{Rig, answer, task_id};

#[test]
fn a_conversation_reaches_the_worker_with_its_system_messages_first() {
    let rig = Rig::start();
    let reply = rig.client().post(
        "/generate",
        &json!({"messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": null, "reasoning_content": "Hm", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        ]}),
    );
    assert_eq!(reply.status, 202, "{reply:?}");
    let claimed = rig.claim();
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!("{:?}", claimed.task.prompt) };
    assert_eq!(messages[0], Message::new(Role::System, "Be brief."));
    assert_eq!(messages[1], Message::user("Weather?"));
    assert!(matches!(&messages[2].parts[0], Part::Reasoning { text } if text == "Hm"));
    let result = Part::ToolResult { call_id: Some("call_1".into()), text: "sunny".into() };
    assert_eq!(messages[3].parts, [result]);
    assert_eq!(messages.len(), 4);
}

#[test]
fn an_invalid_conversation_is_refused_with_the_place_of_the_problem() {
    let rig = Rig::start();
    let hello = json!([{"role": "user", "content": "Hello"}]);
    for (body, loc, kind) in [
        (json!({"messages": []}), json!(["body", "messages"]), "list_type"),
        (json!({"messages": hello, "prompt": "x"}), json!(["body", "prompt"]), "value_error"),
        (json!({"messages": hello, "raw": true}), json!(["body", "raw"]), "value_error"),
        (
            json!({"messages": [{"role": "robot", "content": "x"}]}),
            json!(["body", "messages", 0, "role"]),
            "enum",
        ),
        (
            json!({"messages": [{"role": "user", "contents": "x"}]}),
            json!(["body", "messages", 0]),
            "extra_forbidden",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            json!(["body", "messages", 0, "content", 0]),
            "value_error",
        ),
    ] {
        let problem = rig.client().post("/generate", &body).problem();
        assert_eq!((&problem["loc"], &problem["type"]), (&loc, &json!(kind)), "{problem}");
    }
}

#[test]
fn token_events_have_the_requested_logprobs() {
    let rig = Rig::start();
    let body = json!({"prompt": "x", "logprobs": true});
    let id = task_id(&rig.client().post("/generate", &body).json());
    let claimed = rig.claim();
    let drawn = TokenLogprob::new(b"Hi".to_vec(), -0.5);
    let token = TokenLogprobs { drawn, top_logprobs: Vec::new() };
    let chunk = Chunk { logprobs: vec![token], ..Chunk::from("Hi") };
    rig.wait(rig.broker.publish(&claimed.lease, 0, &[chunk])).unwrap();
    rig.finish(&claimed, &answer("Hi"));
    let events = rig.client().get(&format!("/events/{id}")).text;
    let data: Vec<Value> = events
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let token = data.iter().find(|data| data["text"] == "Hi").unwrap();
    assert_eq!(token["logprobs"]["content"][0]["token"], "Hi");
    assert_eq!(token["logprobs"]["content"][0]["logprob"], -0.5);
}
