//! Tests `POST /v1/responses/input_tokens`.

use std::thread;

use protocol::{
    Completion, ErrorType, Lane, Message, Outcome, Prompt, Role, TaskError, TaskKind, Usage,
};
use queue::Claimed;
use serde_json::{Value, json};

use crate::client::Reply;
use crate::openai_responses::error;
use crate::rig::{Rig, answer};

const PATH: &str = "/v1/responses/input_tokens";

/// Sends a body, and ends its task with `outcome`.
fn counted(rig: &Rig, body: &Value, outcome: &Outcome) -> (Reply, Claimed) {
    let (client, body) = (rig.client(), body.clone());
    let asking = thread::spawn(move || client.post(PATH, &body));
    let claimed = rig.claim();
    rig.finish(&claimed, outcome);
    (asking.join().unwrap(), claimed)
}

fn tokens(prompt_tokens: u32) -> Outcome {
    let usage = Usage { prompt_tokens, ..Usage::default() };
    Outcome::Completed(Completion { usage, ..Completion::default() })
}

#[test]
fn input_tokens_are_counted_by_an_urgent_task_with_the_same_prompt() {
    let rig = Rig::start();
    let body = json!({
        "model": "demo", "input": "Weather?", "instructions": "Be brief.", "reasoning": {"effort": "low"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    });
    let (client, same) = (rig.client(), body.clone());
    let asking = thread::spawn(move || client.post("/v1/responses", &same));
    let response = rig.claim();
    rig.finish(&response, &answer("Sunny"));
    let id = asking.join().unwrap().json()["id"].clone();

    let (reply, claimed) = counted(&rig, &body, &tokens(123));
    let expected = json!({"object": "response.input_tokens", "input_tokens": 123});
    assert_eq!((reply.status, reply.json()), (200, expected));
    assert_eq!((&claimed.task.kind, claimed.task.lane), (&TaskKind::Count, Lane::High));
    let read = |claimed: &Claimed| (claimed.task.prompt.clone(), claimed.task.form.clone());
    assert_eq!(read(&claimed), read(&response));

    // It may continue a stored response.
    let body = json!({"model": "demo", "input": "Really?", "previous_response_id": id});
    let (_, claimed) = counted(&rig, &body, &tokens(7));
    let said = |role, text: &str| Message::new(role, text);
    let conversation = vec![
        said(Role::User, "Weather?"),
        said(Role::Assistant, "Sunny"),
        said(Role::User, "Really?"),
    ];
    assert_eq!(claimed.task.prompt, Prompt::Chat(conversation));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let rig = Rig::start();
    let reply = rig.client().post(PATH, &json!({"model": "demo"}));
    assert_eq!(error(&reply), (400, json!("input"), json!("missing_required_parameter")));
    let wrong = TaskError::new(ErrorType::InvalidRequest, "makes no text").about("model");
    let body = json!({"model": "demo", "input": "a"});
    let (reply, _) = counted(&rig, &body, &Outcome::Failed(wrong));
    assert_eq!(error(&reply), (400, json!("model"), json!(null)));
    assert_eq!(rig.client().send("GET", PATH, None).status, 405);
    // As for responses, the empty body asks the default model.
    let (reply, _) = counted(&rig, &json!({}), &tokens(9));
    assert_eq!(reply.json()["input_tokens"], 9);
}
