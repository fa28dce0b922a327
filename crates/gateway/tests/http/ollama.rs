//! Tests Ollama's routes.

use protocol::{ModelId, ModelReport, ModelState, WorkerStatus};
use serde_json::{Value, json};

use crate::rig::Rig;

fn served(model: &str, context_length: Option<u32>) -> ModelReport {
    ModelReport {
        model: ModelId::new(model),
        parent: None,
        quantization: "Q4_K_M".into(),
        state: ModelState::Loaded,
        running: 0,
        capacity: 1,
        context_length,
        images: None,
        family: None,
        memory_bytes: 1000,
        load_ms: None,
        since_claim_ms: None,
        problem: None,
    }
}

#[test]
fn served_models_are_listed() {
    let rig = Rig::start();
    let mut lora = served("lora", None);
    lora.parent = Some(ModelId::new("demo"));
    rig.report_of("demo", WorkerStatus::Ready, vec![served("demo", Some(4096)), lora]);
    let body = rig.client().get("/api/tags").json();
    let models = body["models"].as_array().unwrap();
    let names: Vec<&Value> = models.iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["demo", "lora"]);
    let demo = &models[0];
    assert_eq!((&demo["model"], &demo["size"]), (&json!("demo"), &json!(1000)));
    assert!(demo["modified_at"].as_str().unwrap().ends_with('Z'));
    let details = json!({
        "format": "", "family": "qwen", "families": ["qwen"], "parent_model": "",
        "parameter_size": "", "quantization_level": "Q4_K_M",
    });
    assert_eq!(demo["details"], details);
    assert_eq!(models[1]["details"]["parent_model"], "demo");
}

#[test]
fn a_model_is_shown() {
    let rig = Rig::start();
    rig.report_of("demo", WorkerStatus::Ready, vec![served("demo", Some(4096))]);
    for name in ["model", "name"] {
        let shown = rig.client().post("/api/show", &json!({name: "demo"})).json();
        assert_eq!(shown["model_info"]["qwen.context_length"], 4096, "{shown}");
        assert_eq!(shown["model_info"]["general.architecture"], "qwen");
        assert_eq!(shown["details"]["quantization_level"], "Q4_K_M");
    }
    let unknown = rig.client().get("/api/version");
    assert_eq!(unknown.json(), json!({"version": env!("CARGO_PKG_VERSION")}));
}

#[test]
fn refusals_have_ollamas_shape() {
    let rig = Rig::start();
    let client = rig.client();
    for (reply, status, words) in [
        (rig.client_with(None).get("/api/tags"), 401, "Invalid API key"),
        (client.post("/api/show", &json!({"model": "ghost"})), 404, "does not exist"),
        (client.post("/api/show", &json!({})), 400, "model: this field is required"),
        (client.post("/api/chat", &json!({"model": "demo"})), 404, "no such path"),
        (client.get("/api/show"), 405, "Method Not Allowed"),
    ] {
        let error =
            reply.json()["error"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        assert!(reply.status == status && error.contains(words), "{words}: {reply:?}");
    }
}
