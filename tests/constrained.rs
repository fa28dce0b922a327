//! Tests of constrained answers through gateway, queue and worker.

use std::time::Duration;

use harness::client::Client;
use harness::free_port;
use harness::process::{Home, KEY, Process};
use harness::redis::RedisServer;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

struct System {
    client: Client,
    _processes: [Process; 2],
    _homes: [Home; 2],
    _redis: RedisServer,
}

impl System {
    fn start() -> Self {
        let (redis, homes) = (RedisServer::durable(), [Home::new(), Home::new()]);
        let port = free_port();
        let (url, port_text) = (redis.url(), port.to_string());
        let settings = [
            ("REDIS_URL", url.as_str()),
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("MODEL_NAME", "demo"),
        ];
        let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
        let worker = Process::start(&homes[1], "qwen-queue-worker", &[], &settings);
        let client = Client::new(port);
        client.wait_until_healthy(&mut gateway, true);
        Self { client, _processes: [gateway, worker], _homes: homes, _redis: redis }
    }

    /// Submits a body with these fields and returns the answer.
    fn answer(&self, mut fields: Value) -> String {
        fields["prompt"] = json!("How do I add a worker?");
        let result = self.client.wait_for_result(&self.client.submit(&fields), SOON);
        assert_eq!(result.body["status"], "completed", "{fields}: {result:?}");
        result.body["result"].as_str().expect("text").to_owned()
    }
}

#[test]
fn answers_satisfy_their_constraints() {
    let system = System::start();
    // The keys are not in alphabetical order: the answer's must have the schema's order.
    let schema = json!({
        "type": "object",
        "properties": {
            "zone": {"type": "integer", "minimum": 3, "maximum": 5},
            "answer": {"type": "string", "maxLength": 20},
            "mood": {"enum": ["calm", "busy"]},
        },
        "required": ["zone", "answer", "mood"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}});
    let text = system.answer(json!({"response_format": format, "max_tokens": 200}));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert!((3..=5).contains(&value["zone"].as_i64().expect("an integer")), "{text}");
    assert!(value["answer"].as_str().expect("text").chars().count() <= 20, "{text}");
    assert!(["calm", "busy"].contains(&value["mood"].as_str().expect("text")), "{text}");
    let at = |name: &str| text.find(&format!("\"{name}\"")).expect("a key");
    assert!(at("zone") < at("answer") && at("answer") < at("mood"), "{text}");

    let text = system.answer(json!({"choice": ["left", "right"]}));
    assert!(["left", "right"].contains(&text.as_str()), "{text}");
    let text = system.answer(json!({"regex": "[0-9]{4}-[A-Z]{2}"}));
    let (digits, letters) = text.split_once('-').expect("a dash");
    assert!(digits.len() == 4 && digits.chars().all(|c| c.is_ascii_digit()), "{text}");
    assert!(letters.len() == 2 && letters.chars().all(|c| c.is_ascii_uppercase()), "{text}");
    let text = system.answer(json!({"response_format": {"type": "text"}}));
    assert!(text.to_lowercase().contains("worker"), "{text}");

    let bad = json!({"prompt": "x", "regex": "("});
    let refused = system.client.post("/generate", &bad);
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.body["detail"][0]["loc"], json!(["body", "regex"]), "{refused:?}");
}
