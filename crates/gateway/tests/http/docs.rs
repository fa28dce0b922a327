//! Tests `/`, the OpenAPI document and Swagger UI.

use std::collections::BTreeSet;

use protocol::{ModelId, ModelReport, ModelState, WorkerStatus};
use serde_json::{Value, json};

use crate::rig::Rig;

#[test]
fn root_page_describes_the_service() {
    let rig = Rig::start();
    let body = rig.client_with(None).get("/").json();
    assert_eq!(body["name"], "qwen-queue");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["model"], "demo");
    assert_eq!((&body["device"], &body["quantization"]), (&Value::Null, &Value::Null));
    assert_eq!(body["links"]["docs"], "/docs");
    assert_eq!(body["links"]["ui"], "/ui/");
    rig.report("demo", WorkerStatus::Ready);
    let body = rig.client_with(None).get("/").json();
    assert_eq!((&body["device"], &body["quantization"]), (&json!("cpu"), &json!("Q4_K_M")));
}

#[test]
fn health_reports_queue_and_model() {
    let rig = Rig::start();
    let client = rig.client_with(None);
    let get = |path: &str| {
        let reply = client.get(path);
        (reply.status, reply.json())
    };
    let mut expected = json!({
        "status": "healthy", "redis_connected": true, "model_loaded": false,
        "version": env!("CARGO_PKG_VERSION"), "queue": "sqlite", "model": "demo",
        "workers": 0, "queued": 0, "processing": 0,
        "log_files_failing": 0, "log_lines_waiting": 0, "log_lines_lost": 0, "workers_log_lines_lost": 0,
    });
    assert_eq!(get("/health"), (200, expected.clone()));
    let mut not_ready = expected.clone();
    not_ready["reason"] = json!("no live worker takes tasks of the model demo");
    assert_eq!(get("/ready"), (503, not_ready));

    rig.report("demo", WorkerStatus::Loading);
    rig.report("other", WorkerStatus::Ready);
    (expected["workers"], expected["workers_log_lines_lost"]) = (json!(2), json!(6));
    assert_eq!(get("/health"), (200, expected.clone()));

    rig.report("demo", WorkerStatus::Draining);
    (expected["workers"], expected["workers_log_lines_lost"]) = (json!(3), json!(9));
    expected["model_loaded"] = json!(true);
    assert_eq!(get("/health"), (200, expected.clone()));
    assert_eq!(get("/ready").0, 503, "who drains takes nothing new");

    rig.report("demo", WorkerStatus::Ready);
    rig.submit("one");
    rig.submit("two");
    rig.claim();
    (expected["workers"], expected["workers_log_lines_lost"]) = (json!(4), json!(12));
    expected["queued"] = json!(1);
    expected["processing"] = json!(1);
    assert_eq!(get("/health"), (200, expected.clone()));
    assert_eq!(get("/ready"), (200, expected));
}

#[test]
fn worker_of_several_models_is_ready_for_all_and_reports_loaded_ones() {
    let rig = Rig::with(|options| options.known_models = vec![ModelId::new("known")]);
    let get = |path: &str| rig.client().get(path);
    let served = |model: &str, state| ModelReport {
        model: ModelId::new(model),
        parent: None,
        quantization: format!("Q of {model}"),
        state,
        running: 0,
        capacity: 1,
        context_length: None,
        images: None,
        family: None,
        memory_bytes: 1,
        load_ms: Some(1500),
        since_claim_ms: None,
        problem: None,
    };
    for (state, loaded) in [(ModelState::Unloaded, false), (ModelState::Loaded, true)] {
        let models = vec![served("other", ModelState::Loaded), served("demo", state)];
        rig.report_of("other", WorkerStatus::Ready, models);
        let health = get("/health").json();
        assert_eq!(health["model_loaded"], loaded, "{health}");
        assert_eq!(get("/ready").status, 200, "it makes room for a task of the default model");
        assert_eq!(get("/").json()["quantization"], "Q of demo");
    }
    // Configured models are accepted without a worker; unknown ones are rejected.
    for (model, status) in [("known", 202), ("other", 202), ("unheard-of", 422)] {
        let reply = rig.client().post("/generate", &json!({"prompt": "x", "model": model}));
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[test]
fn every_response_has_the_common_headers() {
    let rig = Rig::start();
    let client = rig.client_with(None).with("x-request-id", "mine-1.2_3");
    for path in ["/", "/health", "/nowhere", "/status/x"] {
        let reply = client.get(path);
        assert_eq!(reply.header("x-request-id"), Some("mine-1.2_3"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(reply.header("content-security-policy"), Some(policy));
        assert_eq!(reply.header("server"), None, "versions are nobody's business");
    }
    let wild = rig.client_with(None).with("x-request-id", "not sane = true").get("/");
    let id = wild.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn docs_load_nothing_from_other_hosts() {
    let rig = Rig::start();
    let client = rig.client_with(None);
    for (page, base) in [("/docs", "/"), ("/docs/", "/docs/"), ("/docs/index.html", "/docs/")] {
        let reply = client.get(page);
        assert_eq!(reply.status, 200, "{page}");
        assert!(reply.header("content-type").unwrap().starts_with("text/html"));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'"), "{policy}");
        assert!(reply.text.contains("<title>qwen-queue API</title>"));
        assert!(!reply.text.contains("//"), "nothing comes from elsewhere: {}", reply.text);
        let assets: Vec<&str> = ["src=\"", "href=\""]
            .into_iter()
            .flat_map(|attribute| reply.text.split(attribute).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(assets.len(), 7, "{assets:?}");
        for asset in assets {
            let path = format!("{base}{}", asset.trim_start_matches("./"));
            let found = client.get(&path);
            assert_eq!(found.status, 200, "{page} wants {path}");
        }
    }
    let setup = client.get("/docs/swagger-initializer.js").text;
    assert!(setup.contains("\"/openapi.json\"") && !setup.contains("petstore"), "{setup}");
    assert!(setup.contains("\"validatorUrl\": \"none\""), "{setup}");
}

#[test]
fn openapi_document_is_complete_and_correct() {
    let rig = Rig::with(|options| {
        options.max_new_tokens = 99;
        options.max_prompt_bytes = 1234;
    });
    let reply = rig.client_with(None).get("/openapi.json");
    assert_eq!(reply.status, 200);
    let document = reply.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let operations = [
        ("/", "get", &["200"][..]),
        ("/health", "get", &["200", "503"]),
        ("/ready", "get", &["200", "503"]),
        ("/docs", "get", &["200"]),
        ("/openapi.json", "get", &["200"]),
        (
            "/generate",
            "post",
            &[
                "200", "202", "400", "401", "408", "409", "413", "415", "422", "429", "500", "503",
                "504",
            ],
        ),
        ("/status/{task_id}", "get", &["200", "401", "404", "410", "422", "500", "503"]),
        ("/result/{task_id}", "get", &["200", "202", "401", "404", "410", "422", "500", "503"]),
        ("/events/{task_id}", "get", &["200", "204", "401", "404", "410", "422", "500", "503"]),
        ("/cancel/{task_id}", "post", &["200", "202", "401", "404", "410", "422", "500", "503"]),
        ("/webhook/{task_id}", "get", &["200", "401", "404", "422", "500", "503"]),
        ("/webhook-secret", "get", &["200", "401", "500"]),
        ("/blobs", "post", &["201", "400", "401", "408", "413", "422", "500", "503"]),
        ("/blobs/{id}", "get", &["200", "401", "404", "500", "503"]),
        ("/blobs/{id}/content", "get", &["200", "401", "404", "500", "503"]),
        ("/blobs/{id}", "delete", &["200", "401", "404", "500", "503"]),
        ("/admin/overview", "get", &["200", "401", "403", "500", "503"]),
        ("/admin/history", "get", &["200", "401", "403", "422", "500", "503"]),
        ("/metrics", "get", &["200", "401", "403", "500", "503"]),
        ("/admin/usage", "get", &["200", "401", "403", "422", "500", "503"]),
        ("/admin/workers", "get", &["200", "401", "403", "500", "503"]),
        (
            "/admin/workers/{worker_id}/drain",
            "post",
            &["202", "401", "403", "404", "422", "500", "503"],
        ),
        ("/admin/keys", "post", &["201", "401", "403", "422", "500", "503"]),
        ("/admin/keys", "get", &["200", "401", "403", "422", "500", "503"]),
        ("/admin/keys/{id}", "get", &["200", "401", "403", "404", "500", "503"]),
        ("/admin/keys/{id}", "patch", &["200", "401", "403", "404", "409", "422", "500", "503"]),
        ("/admin/keys/{id}", "delete", &["200", "401", "403", "404", "500", "503"]),
        ("/admin/keys/{id}/rotate", "post", &["200", "401", "403", "404", "409", "500", "503"]),
        ("/admin/tasks", "get", &["200", "401", "403", "422", "500", "503"]),
        ("/admin/tasks/cancel", "post", &["200", "401", "403", "422", "500", "503"]),
        ("/admin/schedule", "get", &["200", "401", "403", "500", "503"]),
        (
            "/admin/schedule/{name}/run",
            "post",
            &["202", "401", "403", "404", "409", "422", "429", "500", "503"],
        ),
        ("/admin/pause", "post", &["200", "401", "403", "404", "422", "500", "503"]),
        ("/admin/resume", "post", &["200", "401", "403", "404", "422", "500", "503"]),
        ("/admin/dead-letters", "get", &["200", "401", "403", "422", "500", "503"]),
        ("/admin/dead-letters", "delete", &["200", "401", "403", "422", "500", "503"]),
        (
            "/admin/dead-letters/{task_id}",
            "get",
            &["200", "401", "403", "404", "422", "500", "503"],
        ),
        (
            "/admin/dead-letters/{task_id}",
            "delete",
            &["200", "401", "403", "404", "422", "500", "503"],
        ),
        (
            "/admin/dead-letters/{task_id}/replay",
            "post",
            &["202", "401", "403", "404", "422", "500", "503"],
        ),
    ];
    let work: &[&str] =
        &["200", "400", "401", "404", "408", "409", "413", "415", "429", "500", "503", "504"];
    let one: &[&str] = &["200", "400", "401", "404", "500", "503"];
    let job: &[&str] =
        &["200", "400", "401", "404", "408", "409", "413", "415", "429", "500", "503"];
    let prediction: &[&str] =
        &["201", "400", "401", "404", "408", "409", "413", "415", "422", "429", "500", "503"];
    let of_prediction: &[&str] = &["200", "401", "404", "422", "500", "503"];
    let found: &[&str] = &["200", "401", "404", "500", "503"];
    let describe: &[&str] =
        &["200", "400", "401", "408", "409", "413", "415", "422", "429", "500", "503", "504"];
    let of_images: &[&str] = &[
        "200", "400", "401", "404", "408", "409", "413", "415", "422", "429", "500", "503", "504",
    ];
    let skill: &[&str] =
        &["200", "202", "400", "401", "404", "408", "413", "415", "422", "429", "500", "503"];
    let others = [
        ("/v1/chat/completions", "post", work),
        ("/v1/completions", "post", work),
        ("/v1/embeddings", "post", work),
        ("/v1/models", "get", &["200", "401", "500", "503"]),
        ("/v1/models/{model}", "get", &["200", "401", "404", "500", "503"]),
        ("/v1/usage", "get", &["200", "400", "401", "500", "503"]),
        ("/v1/responses", "post", work),
        ("/v1/responses/{response_id}", "get", one),
        ("/v1/responses/{response_id}", "delete", one),
        ("/v1/responses/{response_id}/cancel", "post", one),
        ("/v1/responses/{response_id}/input_items", "get", one),
        ("/v1/responses/input_tokens", "post", work),
        ("/v1/files", "post", &["200", "400", "401", "408", "413", "415", "500", "503"]),
        ("/v1/files", "get", &["200", "400", "401", "500", "503"]),
        ("/v1/files/{file_id}", "get", found),
        ("/v1/files/{file_id}", "delete", found),
        ("/v1/files/{file_id}/content", "get", found),
        ("/v1/batches", "post", &["200", "400", "401", "408", "413", "415", "500", "503"]),
        ("/v1/batches", "get", &["200", "400", "401", "500", "503"]),
        ("/v1/batches/{batch_id}", "get", found),
        ("/v1/batches/{batch_id}/cancel", "post", found),
        ("/v1/messages", "post", work),
        ("/v1/messages/count_tokens", "post", work),
        ("/v2/{model}/run", "post", job),
        ("/v2/{model}/runsync", "post", job),
        ("/v2/{model}/status/{id}", "get", one),
        ("/v2/{model}/stream/{id}", "get", one),
        ("/v2/{model}/cancel/{id}", "post", one),
        ("/v2/{model}/health", "get", &["200", "401", "404", "500", "503"]),
        ("/v1/predictions", "post", prediction),
        ("/v1/models/{owner}/{name}/predictions", "post", prediction),
        ("/v1/predictions", "get", &["200", "401", "422", "500", "503"]),
        ("/v1/predictions/{id}", "get", of_prediction),
        ("/v1/predictions/{id}/stream", "get", of_prediction),
        ("/v1/predictions/{id}/cancel", "post", of_prediction),
        ("/api/v1/describe", "post", describe),
        ("/api/v1/batch", "post", describe),
        ("/api/v1/skills", "get", &["200", "401", "500", "503"]),
        ("/api/v1/skills/{name}", "get", &["200", "401", "404", "500", "503"]),
        ("/api/v1/skills/{name}", "post", skill),
        ("/api/v1/skills/{name}/batch", "post", of_images),
        ("/api/tags", "get", &["200", "401", "500", "503"]),
        ("/api/show", "post", &["200", "400", "401", "404", "408", "413", "415", "500", "503"]),
        ("/api/version", "get", &["200"]),
    ];
    let operations: Vec<_> = operations.into_iter().chain(others).collect();
    let described = document["paths"].as_object().unwrap().values();
    let described = described.map(|path| path.as_object().unwrap().len()).sum::<usize>();
    assert_eq!(described, operations.len());
    for (path, method, statuses) in operations {
        let operation = &document["paths"][path][method];
        let found: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        let is_open = statuses.contains(&"401");
        // Each route that needs a key refuses credentials in the same ways.
        let of_credentials: &[&str] = if is_open { &["400", "403", "429"] } else { &[] };
        let expected: BTreeSet<&str> = statuses.iter().chain(of_credentials).copied().collect();
        assert!(
            found.iter().map(|status| status.as_str()).eq(expected),
            "{method} {path}: {found:?}"
        );
        let security = operation.get("security").unwrap_or(&document["security"]);
        let expected = match is_open {
            true if path.starts_with("/admin/") || path == "/metrics" => {
                json!([{"admin_key": []}, {"admin_bearer": []}])
            }
            true => json!([{"api_key": []}, {"bearer": []}]),
            false => json!([{}]),
        };
        assert_eq!(security, &expected, "{path}");
        for response in operation["responses"].as_object().unwrap().values() {
            assert!(!response["description"].as_str().unwrap().is_empty());
        }
    }

    let fields = &document["components"]["schemas"]["GenerateBody"];
    assert_eq!(fields["additionalProperties"], false);
    assert_eq!(fields["required"], Value::Null);
    let one = json!([{"required": ["prompt"]}, {"required": ["messages"]}]);
    assert_eq!(fields["oneOf"], one);
    let fields = fields["properties"].as_object().unwrap();
    assert_eq!(fields.len(), 38);
    assert_eq!(
        (&fields["prompt"]["maxLength"], &fields["prompt"]["minLength"]),
        (&json!(1234), &json!(1))
    );
    let tokens = &fields["max_tokens"];
    assert_eq!(
        (&tokens["minimum"], &tokens["maximum"], &tokens["default"]),
        (&json!(1), &json!(99), &json!(99))
    );
    assert!(fields.values().all(|field| field["description"].is_string()), "{fields:#?}");

    let chat = &document["components"]["schemas"]["ChatCompletionRequest"];
    assert_eq!(chat["required"], json!(["model", "messages"]));
    assert!(chat["properties"]["temperature"]["maximum"].is_number());
    let reply = &document["paths"]["/v1/chat/completions"]["post"]["responses"];
    let forms: Vec<&String> = reply["200"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(forms, ["application/json", "text/event-stream"]);
    let error = &reply["429"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(error, "#/components/schemas/OpenAiError");
    assert!(reply["429"]["headers"]["Retry-After"].is_object());

    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(target) if name == "$ref" => vec![target.clone()],
                value => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
