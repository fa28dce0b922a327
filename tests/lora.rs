//! LoRA adapters from the settings to the answer: real workers that serve a base and adapters by
//! name.

use std::time::Duration;

use harness::client::Client;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::redis::RedisServer;
use harness::{free_port, models};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn adapter(kind: &str) -> String {
    models::fixture(&format!("qwen3/{kind}")).display().to_string()
}

fn base() -> String {
    models::fixture("qwen3/qwen3-f32.gguf").display().to_string()
}

fn submit(client: &Client, model: Option<&str>) -> String {
    let mut body =
        json!({"prompt": "the lease ends", "temperature": 0.0, "max_tokens": 24, "raw": true});
    if let Some(model) = model {
        body["model"] = model.into();
    }
    client.submit(&body)
}

fn answer(client: &Client, task: &str) -> (String, Value) {
    let result = client.wait_for_result(task, SOON).body;
    assert_eq!(result["status"], "completed", "{result}");
    let model = client.get(&format!("/status/{task}")).body["model"].clone();
    (result["result"].as_str().expect("a text").to_owned(), model)
}

/// Sends requests for all three models at once, repeatedly: each answers as it does alone, under
/// its own name.
fn assert_each_model_answers(client: &Client) {
    let names = [None, Some("broad"), Some("narrow")];
    let alone = names.map(|name| answer(client, &submit(client, name)));
    assert_eq!(alone.each_ref().map(|(_, model)| model), ["qwen3-f32", "broad", "narrow"]);
    let [of_base, broad, narrow] = alone.each_ref().map(|(text, _)| text);
    assert!(of_base != broad && of_base != narrow && broad != narrow, "{alone:?}");
    let together: Vec<String> =
        (0..4).flat_map(|_| names.map(|name| submit(client, name))).collect();
    for (index, task) in together.iter().enumerate() {
        assert_eq!(answer(client, task), alone[index % names.len()]);
    }
}

#[test]
fn a_separate_worker_serves_base_and_adapters_by_name() {
    let (redis, homes, port) = (RedisServer::start(), [Home::new(), Home::new()], free_port());
    let (url, port_text, base) = (redis.url(), port.to_string(), base());
    let adapters = format!("broad={},narrow={}", adapter("broad"), adapter("narrow"));
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("MODEL_NAME", base.as_str()),
    ];
    // The gateway has no such setting: it learns of adapters from workers.
    let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
    let with_adapters = [&settings[..], &[("LORA_ADAPTERS", adapters.as_str())]].concat();
    let _worker = Process::start(&homes[1], "qwen-queue-worker", &[], &with_adapters);
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    assert_each_model_answers(&client);

    let unknown = client.post("/generate", &json!({"prompt": "x", "model": "other"}));
    assert_eq!(unknown.status, 422, "{unknown:?}");
    let said = unknown.body.to_string();
    assert!(said.contains("unknown_model") && said.contains("qwen3-f32, broad, narrow"), "{said}");

    let workers = Client::with_key(port, ADMIN_KEY).get("/admin/workers").body;
    let served = workers["workers"][0]["models"].as_array().expect("models").clone();
    let parents: Vec<(&Value, &Value)> =
        served.iter().map(|one| (&one["model"], &one["parent"])).collect();
    assert_eq!(parents.len(), 3, "{workers}");
    assert_eq!(parents[0], (&json!("qwen3-f32"), &Value::Null));
    assert_eq!(parents[2], (&json!("narrow"), &json!("qwen3-f32")));
}

#[test]
fn up_loads_adapters_named_on_its_command_line() {
    let (home, port) = (Home::new(), free_port());
    let (port_text, base) = (port.to_string(), base());
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", base.as_str())];
    let (broad, narrow) =
        (format!("broad={}", adapter("broad")), format!("narrow={}", adapter("narrow")));
    let args = ["up", "--lora", &broad, "--lora", &narrow];
    let mut up = Process::start(&home, "qwen-queue", &args, &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    assert_each_model_answers(&client);
    assert!(home.read("logs/app.log").contains("with the adapters broad, narrow"));
}

#[test]
fn unusable_adapter_stops_the_start() {
    for (source, said) in [
        ("./nowhere".to_owned(), "there is no adapter at ./nowhere"),
        (models::fixture("qwen2/broad").display().to_string(), "it is for another base"),
    ] {
        let (home, base, lora) = (Home::new(), base(), format!("mine={source}"));
        let settings = [("PORT", "0"), ("API_KEYS", KEY), ("MODEL_NAME", base.as_str())];
        let mut up = Process::start(&home, "qwen-queue", &["up", "--lora", &lora], &settings);
        assert!(!up.wait(SOON).success());
        assert!(up.output().contains(said), "{}", up.output());
    }
}
