//! Tests `/v1/models`.

use protocol::{ModelId, WorkerStatus};
use serde_json::{Value, json};

use crate::rig::Rig;

#[test]
fn models_are_listed_with_the_default_first() {
    let rig = Rig::with(|options| options.known_models = vec![ModelId::new("later")]);
    let ids = |body: &Value| -> Vec<String> {
        let data = body["data"].as_array().unwrap().iter();
        data.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let none = rig.client().get("/v1/models").json();
    assert_eq!(ids(&none), ["demo", "later"], "without any worker");
    rig.report("another", WorkerStatus::Ready);
    rig.report("demo", WorkerStatus::Ready);
    let body = rig.client().get("/v1/models").json();
    assert_eq!(ids(&body), ["demo", "another", "later"]);
    assert_eq!(
        (&body["object"], &body["has_more"], &body["first_id"], &body["last_id"]),
        (&json!("list"), &json!(false), &json!("demo"), &json!("later"))
    );
    let demo = body["data"][0].clone();
    assert!(demo["created"].as_u64().unwrap() > 1_700_000_000);
    let expected = json!({
        "id": "demo", "object": "model", "created": demo["created"], "owned_by": "qwen-queue",
        "quantization": "Q4_K_M",
    });
    assert_eq!(demo, expected);
    assert_eq!(rig.client().get("/v1/models/demo").json(), expected);
}

#[test]
fn a_model_is_found_by_its_name_or_alias() {
    let rig = Rig::with(|options| options.model_aliases = "gpt-4o=demo".parse().unwrap());
    rig.report("Qwen/Qwen3-4B-GGUF", WorkerStatus::Ready);
    for name in ["demo", "Qwen/Qwen3-4B-GGUF", "gpt-4o"] {
        let reply = rig.client().get(&format!("/v1/models/{name}"));
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(name)), "{name}");
    }
    let reply = rig.client().get("/v1/models/gpt-9");
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["error"]["code"], "model_not_found");
    assert_eq!(rig.client().send("DELETE", "/v1/models/demo", None).status, 405);
}
