//! Adapters from the settings to the answer: real workers that serve a base and adapters by name.

use harness::client::Client;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::redis::RedisServer;
use harness::{free_port, models};
use serde_json::{Value, json};

/// What a worker is told to serve beside the base.
fn adapters() -> String {
    let folder = |kind: &str| models::fixture(&format!("qwen3/{kind}")).display().to_string();
    format!("broad={},narrow={}", folder("broad"), folder("narrow"))
}

fn ask(client: &Client, model: Option<&str>) -> Value {
    let mut body =
        json!({"prompt": "the lease ends", "temperature": 0.0, "max_tokens": 24, "raw": true});
    if let Some(model) = model {
        body["model"] = model.into();
    }
    let task_id = client.submit(&body);
    client.result(&task_id)
}
