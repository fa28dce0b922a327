//! Tests stored responses: those in the background, those that continue others, and their deletion.

use std::thread;

use protocol::{Message, Part, Prompt, Role};
use serde_json::{Value, json};

use crate::openai_responses::{
    call, create, error, get, kinds, post, reasoning, stream, text, think_write_and_call, tools,
};
use crate::rig::{Rig, answer};

#[test]
fn a_response_in_the_background_is_polled_and_cancelled() {
    let rig = Rig::start();
    let id = create(&rig, json!({"input": "Tell me"}));
    assert_eq!(get(&rig, &id)["status"], "queued");
    let claimed = rig.claim();
    assert_eq!(get(&rig, &id)["status"], "in_progress");
    rig.finish(&claimed, &answer("Once"));
    let response = get(&rig, &id);
    assert_eq!((&response["status"], &response["background"]), (&json!("completed"), &json!(true)));
    let cancel = |id: &str| rig.client().send("POST", &format!("/v1/responses/{id}/cancel"), None);
    assert_eq!(cancel(&id).json(), response, "what has ended stays");

    let id = create(&rig, json!({"input": "Tell me"}));
    for _ in 0..2 {
        let reply = cancel(&id);
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("cancelled")));
    }
    let all = stream(&rig, &id);
    assert_eq!(kinds(&all), ["created", "queued", "failed"]);
    assert_eq!(all[2].data["response"]["status"], "cancelled");

    let client = rig.client();
    let waiting = thread::spawn(move || post(&client, json!({"input": "Tell me"})));
    rig.finish(&rig.claim(), &answer("Once"));
    let id = waiting.join().unwrap().json()["id"].as_str().unwrap().to_owned();
    let reply = cancel(&id);
    assert_eq!(error(&reply).0, 400, "it was not in the background");
}

#[test]
fn a_response_continues_another_with_all_its_items() {
    let rig = Rig::start();
    let first =
        create(&rig, json!({"input": "Tell me", "instructions": "Be brief.", "tools": tools()}));
    let body = json!({"input": "And?", "previous_response_id": first});
    let reply = post(&rig.client(), body.clone());
    assert_eq!(error(&reply).1, "previous_response_id", "it has not ended");
    think_write_and_call(&rig);
    let results = json!([
        {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
        {"type": "function_call_output", "call_id": "call_2", "output": "rain"},
    ]);
    let second = create(&rig, json!({"input": results, "previous_response_id": first}));
    let claimed = rig.claim();
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!("{claimed:?}") };
    let parts = vec![
        reasoning("Hm"),
        text("Grüße"),
        Part::ToolCall { call: call(1) },
        Part::ToolCall { call: call(2) },
    ];
    let result = |id: &str, text: &str| Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult { call_id: Some(id.into()), text: text.into() }],
        name: None,
    };
    let expected = [
        Message::user("Tell me"),
        Message { role: Role::Assistant, parts, name: None },
        result("call_1", "sun"),
        result("call_2", "rain"),
    ];
    assert_eq!(messages[..], expected, "without the instructions");
    rig.finish(&claimed, &answer("Sun, then rain"));
    assert_eq!(get(&rig, &second)["previous_response_id"], json!(first));

    let list = |query: &str| {
        rig.client().get(&format!("/v1/responses/{second}/input_items{query}")).json()
    };
    let kinds = |list: &Value| -> Vec<String> {
        let items = list["data"].as_array().unwrap().iter();
        items.map(|item| item["type"].as_str().unwrap().to_owned()).collect()
    };
    let all = list("?order=asc");
    let expected = [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
    ];
    assert_eq!(kinds(&all), expected);
    assert_eq!(all["has_more"], false);
    let newest = list("?limit=2");
    assert_eq!(kinds(&newest), expected[5..]);
    assert_eq!((&newest["has_more"], &newest["first_id"]), (&json!(true), &all["last_id"]));
    let after = newest["last_id"].as_str().unwrap();
    assert_eq!(kinds(&list(&format!("?limit=1&after={after}"))), ["function_call"]);

    let deleted = rig.client().send("DELETE", &format!("/v1/responses/{first}"), None);
    assert_eq!(deleted.json(), json!({"id": first, "object": "response", "deleted": true}));
    assert_eq!(rig.client().get(&format!("/v1/responses/{first}")).status, 404);
    let (status, param, code) = error(&post(&rig.client(), body));
    assert_eq!((status, &*code.to_string()), (400, "\"previous_response_not_found\""));
    assert_eq!(param, "previous_response_id");
}

#[test]
fn a_deleted_response_is_cancelled() {
    let rig = Rig::start();
    let id = create(&rig, json!({"input": "Tell me"}));
    let path = format!("/v1/responses/{id}");
    assert_eq!(rig.client().send("DELETE", &path, None).status, 200);
    assert_eq!(rig.client().send("DELETE", &path, None).status, 404);
    let overview = rig.wait(rig.broker.overview()).unwrap();
    assert_eq!(overview.queues.iter().flat_map(|queue| queue.queued).sum::<u64>(), 0);
}
