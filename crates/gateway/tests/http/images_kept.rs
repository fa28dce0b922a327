//! Tests how long images are kept, who shares them, and that refused requests leave none.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use protocol::{ModelReport, ModelState, Timestamp, WorkerStatus};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::images::{bytes_of, chat_of, data_url, image_url, png, stored, task_of, tenant};
use crate::openai::CHAT;
use crate::openai_batches::{created, file_lines, line, lines, reached};
use crate::rig::{Rig, answer};

/// Waits until a tenant has no images.
fn none_left(rig: &Rig) -> bool {
    let owner = tenant_once(rig);
    let until = Instant::now() + Duration::from_secs(5);
    while !stored(rig, &owner).is_empty() {
        if Instant::now() > until {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
    true
}

/// Returns the tenant of the first key, whose tasks are all named alike.
fn tenant_once(rig: &Rig) -> protocol::TenantId {
    let client = rig.client();
    let reply = client.post("/generate", &json!({"prompt": "Who?", "priority": "high"}));
    match reply.status {
        202 => {
            let id = crate::rig::task_id(&reply.json());
            let snapshot = rig.wait(rig.broker.snapshot(id)).unwrap().unwrap();
            rig.wait(rig.broker.cancel(id)).unwrap();
            snapshot.task.tenant
        }
        _ => panic!("{reply:?}"),
    }
}

fn generate(rig: &Rig, fields: &Value) -> Reply {
    let mut body = json!({"prompt": "x", "images": [data_url(&png(40, 30))]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rig.client().post("/generate", &body)
}

#[test]
fn images_outlive_their_task() {
    let rig = Rig::start();
    let owner = tenant(&rig);
    for (fields, least_s) in [
        // By default a task with images waits for six hours, computes three times, and is kept for an hour.
        (json!({}), 6 * 3600 + 3 * 120 + 3600),
        (json!({"expires_in_s": 60, "result_ttl_s": 100, "time_limit_s": 10}), 60 + 30 + 100),
        // Two pauses of an hour.
        (json!({"expires_in_s": 60, "retry_backoff_s": 3600}), 60 + 3 * 120 + 2 * 3600 + 3600),
        (json!({"delay_s": 86_400}), 86_400 + 6 * 3600 + 3 * 120 + 3600),
    ] {
        let before = Timestamp::now().as_millis();
        // A picture of its own, which is not shared.
        let picture = data_url(&png(30 + least_s as u32 % 97, 20));
        let mut body = fields.clone();
        body["images"] = json!([picture]);
        assert_eq!(generate(&rig, &body).status, 202);
        let newest = stored(&rig, &owner).pop().unwrap();
        let kept = newest.expires_at.as_millis() - before;
        let (least, most) = (least_s * 1000, (least_s + 1000) * 1000);
        assert!((least..most).contains(&kept), "{fields}: {kept} ms");
    }
    let claimed = rig.claim();
    assert_eq!(claimed.task.prompt.images(), 1);
}

#[test]
fn equal_images_are_stored_once() {
    let rig = Rig::start();
    let owner = tenant(&rig);
    let (a, b) = (data_url(&png(40, 30)), data_url(&png(30, 40)));
    let mut blobs = HashSet::new();
    for _ in 0..3 {
        let parts = json!([image_url(&a), image_url(&b), image_url(&a)]);
        let (claimed, _) = task_of(&rig, CHAT, &chat_of(&parts));
        let named = claimed.task.prompt.image_blobs();
        assert_eq!((named.len(), named[0]), (3, named[2]));
        blobs.extend(named.into_iter().map(str::to_owned));
    }
    assert_eq!((blobs.len(), stored(&rig, &owner).len()), (2, 2));
}

#[test]
fn refused_requests_leave_no_images() {
    // The queue is full.
    let rig = Rig::with(|options| options.max_queue_size = 1);
    let owner = tenant(&rig);
    rig.submit("Wait");
    let reply = generate(&rig, &json!({}));
    assert_eq!(reply.status, 429, "{reply:?}");
    let until = Instant::now() + Duration::from_secs(5);
    while !stored(&rig, &owner).is_empty() {
        assert!(Instant::now() < until, "the image is still there");
        sleep(Duration::from_millis(20));
    }

    // The constraint cannot be enforced, which shows after the images were stored.
    let rig = Rig::start();
    let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "type": "integer", "minimum": 5, "maximum": 4}}});
    let reply = generate(&rig, &json!({"response_format": schema}));
    assert_eq!(reply.status, 422, "{reply:?}");
    assert!(none_left(&rig));

    // The idempotency key belongs to another body, or to the same one.
    let client = rig.client().with("idempotency-key", "one");
    let body = json!({"prompt": "x", "images": [data_url(&png(40, 30))]});
    assert_eq!(client.post("/generate", &body).status, 202);
    assert_eq!(client.post("/generate", &body).header("idempotent-replayed"), Some("true"));
    let other = json!({"prompt": "y", "images": [data_url(&png(41, 31))]});
    assert_eq!(client.post("/generate", &other).status, 422);
    let owner = tenant_once(&rig);
    let until = Instant::now() + Duration::from_secs(5);
    while stored(&rig, &owner).len() > 1 {
        assert!(Instant::now() < until, "{:?}", stored(&rig, &owner));
        sleep(Duration::from_millis(20));
    }
    assert_eq!(stored(&rig, &owner).len(), 1, "the accepted task keeps its image");
}

pub(crate) fn served(images: Option<bool>) -> ModelReport {
    ModelReport {
        model: protocol::ModelId::new("demo"),
        parent: None,
        quantization: "Q4_K_M".into(),
        state: ModelState::Loaded,
        running: 0,
        capacity: 1,
        context_length: None,
        images,
        family: None,
        memory_bytes: 1,
        load_ms: None,
        since_claim_ms: None,
        problem: None,
    }
}

#[test]
fn a_model_without_images_refuses_them() {
    let rig = Rig::start();
    let report = |images| rig.report_of("demo", WorkerStatus::Ready, vec![served(images)]);
    report(Some(false));
    let reply = rig.client().post(CHAT, &chat_of(&json!([image_url(&data_url(&png(40, 30)))])));
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["param"]), (400, &json!("messages.0.content.0.image_url")));
    assert_eq!(error["message"], "the model 'demo' takes no images: send text");
    let show = |rig: &Rig| {
        rig.client().post("/api/show", &json!({"model": "demo"})).json()["capabilities"].clone()
    };
    let modalities =
        |rig: &Rig| rig.client().get("/v1/models/demo").json()["input_modalities"].clone();
    assert_eq!(show(&rig), json!(["completion", "tools"]));
    assert_eq!(modalities(&rig), json!(["text"]));
    // Another worker has not loaded it yet.
    report(None);
    assert_eq!(generate(&rig, &json!({})).status, 202);
    report(Some(true));
    assert_eq!(generate(&rig, &json!({})).status, 202);
    assert_eq!(show(&rig), json!(["completion", "tools", "vision"]));
    assert_eq!(modalities(&rig), json!(["text", "image"]));
}

#[test]
fn lines_of_batches_have_images() {
    let rig = Rig::start();
    let client = rig.client();
    let picture = png(40, 30);
    let chat = |url: &str| chat_of(&json!([image_url(url), "What is this?"]));
    let content = lines(&[
        line("good", CHAT, chat(&data_url(&picture))),
        line("bad", CHAT, chat(&data_url(b"%PDF-1.7"))),
    ]);
    let batch = created(&client, CHAT, &content);
    let claimed = rig.claim();
    let blobs = claimed.task.prompt.image_blobs();
    assert_eq!(bytes_of(&rig, &claimed.task.tenant, blobs[0]), picture);
    rig.finish(&claimed, &answer("A cat"));
    let batch = reached(&client, &batch, "completed");
    let counts = json!({"total": 2, "completed": 1, "failed": 1});
    assert_eq!(batch["request_counts"], counts);
    let errors = file_lines(&client, &batch["error_file_id"]);
    let error = &errors[0]["response"]["body"]["error"];
    assert_eq!(
        (&errors[0]["custom_id"], &error["param"]),
        (&json!("bad"), &json!("messages.0.content.0.image_url"))
    );
    assert!(error["message"].as_str().unwrap().contains("is a PDF file"), "{error}");
}
