//! Tests forms with images: `POST /generate`, `/api/v1/describe` and `/api/v1/batch`.

use std::fs;
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use image::ImageFormat;
use protocol::{ErrorType, Outcome, Part, Prompt, Task, TaskError};
use serde_json::{Value, json};
use service::settings::Rate;
use tempfile::TempDir;

use crate::client::Reply;
use crate::images::{bytes_of, data_url, picture, png, stored, tenant};
use crate::rig::{KEY, Rig, answer};

const DESCRIBE: &str = "/api/v1/describe";
const BATCH: &str = "/api/v1/batch";

/// A part of a form.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    Text(&'a str, &'a str),
    File(&'a str, &'a [u8]),
}

use Field::{File, Text};

/// Sends a form.
pub(crate) fn send(rig: &Rig, path: &str, fields: &[Field<'_>]) -> Reply {
    send_with(rig, path, fields, &[])
}

fn send_with(rig: &Rig, path: &str, fields: &[Field<'_>], headers: &[(&str, &str)]) -> Reply {
    let body = form(fields);
    let client = rig.client().with("content-type", "multipart/form-data; boundary=x");
    let client = headers.iter().fold(client, |client, (name, value)| client.with(name, value));
    client.send("POST", path, Some(&body))
}

/// Sends a form that waits for its answer.
pub(crate) fn sending(rig: &Rig, path: &str, fields: &[Field<'_>]) -> JoinHandle<Reply> {
    let (body, path) = (form(fields), path.to_owned());
    let client = rig.client().with("content-type", "multipart/form-data; boundary=x");
    thread::spawn(move || client.send("POST", &path, Some(&body)))
}

fn form(fields: &[Field<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in fields {
        body.extend(b"--x\r\nContent-Disposition: form-data; name=\"");
        match field {
            Text(name, text) => {
                body.extend(format!("{name}\"\r\n\r\n{text}").bytes());
            }
            File(name, bytes) => {
                body.extend(
                    format!("{name}\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n")
                        .bytes(),
                );
                body.extend(*bytes);
            }
        }
        body.extend(b"\r\n");
    }
    body.extend(b"--x--\r\n");
    body
}

/// Describes the prompt of a task: its texts, and the number of bytes of its images.
pub(crate) fn shown(rig: &Rig, task: &Task) -> Vec<String> {
    let part = |part: &Part| match part {
        Part::Text { text } => text.clone(),
        Part::Image { blob } => format!("{} bytes", bytes_of(rig, &task.tenant, blob).len()),
        other => format!("{other:?}"),
    };
    match &task.prompt {
        Prompt::Chat(messages) => messages.iter().flat_map(|m| &m.parts).map(part).collect(),
        other => panic!("{other:?}"),
    }
}

/// Runs curl with the arguments of a documented line, in a folder that has `cat.jpg` and `dog.jpg`.
fn curl(rig: &Rig, arguments: &str) -> JoinHandle<Output> {
    let folder = TempDir::new().unwrap();
    for (name, width) in [("cat.jpg", 40), ("dog.jpg", 64)] {
        fs::write(folder.path().join(name), picture(width, 30, ImageFormat::Jpeg)).unwrap();
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("curl -s --max-time 30 {arguments}")])
        .env("URL", format!("http://{}", rig.address))
        .env("KEY", KEY)
        .current_dir(folder.path());
    thread::spawn(move || {
        let _folder = folder;
        command.output().unwrap()
    })
}

fn body_of(curl: JoinHandle<Output>) -> Value {
    let output = curl.join().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn documented_lines_work_with_curl() {
    let rig = Rig::start();
    let key = "-H \"X-API-Key: $KEY\"";
    let asking =
        curl(&rig, &format!("$URL/generate {key} -F 'text=What is this?' -F image=@cat.jpg"));
    let claimed = rig.claim();
    let cat = picture(40, 30, ImageFormat::Jpeg).len();
    assert_eq!(shown(&rig, &claimed.task), [format!("{cat} bytes"), "What is this?".into()]);
    rig.finish(&claimed, &answer("A cat"));
    assert_eq!(body_of(asking), json!({"response": "A cat"}));

    let asking = curl(
        &rig,
        &format!(
            "$URL/api/v1/describe {key} -F image=@cat.jpg -F 'prompt=Describe it' -F max_tokens=64 \
             -F temperature=0.2 -F top_p=0.9 -F top_k=40 -F seed=7"
        ),
    );
    let claimed = rig.claim();
    let task = &claimed.task;
    assert_eq!((task.max_tokens, task.sampling.seed), (64, Some(7)), "{task:?}");
    assert_eq!(task.sampling.top_k, Some(40));
    assert_eq!(shown(&rig, task), [format!("{cat} bytes"), "Describe it".into()]);
    rig.finish(&claimed, &answer("A cat"));
    let body = body_of(asking);
    assert!(body["generation_time"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{body}");
    let expected = json!({
        "description": "A cat", "model_used": "demo", "tokens_generated": 34,
        "generation_time": body["generation_time"],
    });
    assert_eq!(body, expected);

    let line =
        format!("$URL/api/v1/batch {key} -F images=@cat.jpg -F images=@dog.jpg -F prompts=What?");
    let asking = curl(&rig, &line);
    let claimed = [rig.claim(), rig.claim()];
    for (claimed, text) in claimed.iter().zip(["A cat", "A dog"]) {
        rig.finish(claimed, &answer(text));
    }
    let body = body_of(asking);
    let texts: Vec<&Value> =
        body.as_array().unwrap().iter().map(|entry| &entry["description"]).collect();
    assert_eq!(texts, ["A cat", "A dog"], "{body}");
}

#[test]
fn forms_wait_and_degrade_to_a_task() {
    let rig = Rig::start();
    let picture = png(40, 30);
    let fields = [Text("prompt", "x"), File("image", &picture)];
    let reply = send_with(&rig, "/generate", &fields, &[("prefer", "wait=1")]);
    assert_eq!(reply.status, 202, "{reply:?}");
    let id = reply.json()["task_id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), Some(&*format!("/result/{id}")));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("A cat"));
    assert_eq!(rig.client().get(&format!("/result/{id}")).json()["result"], "A cat");

    let reply = send_with(&rig, "/generate", &fields, &[("prefer", "respond-async")]);
    assert_eq!(reply.status, 202, "{reply:?}");
    rig.finish(&rig.claim(), &answer("A cat"));

    let failed = sending(&rig, "/generate", &fields);
    let error = TaskError::new(ErrorType::InvalidRequest, "too many tokens");
    rig.finish(&rig.claim(), &Outcome::Failed(error));
    let reply = failed.join().unwrap();
    assert_eq!(reply.error(), (400, "too many tokens".into()), "{reply:?}");

    // A form that is sent again finds its task, another one does not.
    let named = [("prefer", "respond-async"), ("idempotency-key", "a")];
    let first = send_with(&rig, "/generate", &fields, &named);
    let again = send_with(&rig, "/generate", &fields, &named);
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{again:?}");
    assert_eq!(again.json()["task_id"], first.json()["task_id"]);
    let other = png(41, 30);
    let reply = send_with(&rig, "/generate", &[Text("prompt", "x"), File("image", &other)], &named);
    assert_eq!(reply.problem()["type"], "idempotency_key_reused");
}

#[test]
fn forms_without_a_preference_wait_as_long_as_other_requests() {
    let rig = Rig::with(|options| options.silent_wait = Duration::from_secs(1));
    let reply = send(&rig, "/generate", &[Text("text", "x")]);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(shown(&rig, &rig.claim().task), ["x"]);
}

#[test]
fn images_of_a_form_keep_their_order_and_may_be_named() {
    let rig = Rig::start();
    let (first, second) = (png(40, 30), png(64, 64));
    let url = data_url(&second);
    let fields = [
        File("image", &first),
        Text("image_url", &url),
        File("images[]", &first),
        Text("seed", ""),
        Text("text", "x"),
    ];
    let asking = sending(&rig, "/generate", &fields);
    let claimed = rig.claim();
    let sizes = [first.len(), second.len(), first.len()].map(|len| format!("{len} bytes"));
    let expected: Vec<String> = sizes.into_iter().chain(["x".to_owned()]).collect();
    assert_eq!(shown(&rig, &claimed.task), expected);
    rig.finish(&claimed, &answer("Cats"));
    assert_eq!(asking.join().unwrap().json(), json!({"response": "Cats"}));
}

#[test]
fn refusals_name_the_field() {
    let rig = Rig::with(|options| options.images.max_bytes = 20_000);
    let (good, text) = (png(40, 30), b"This is no image. This is no image.".as_slice());
    let large = vec![0; 20_001];
    let half = vec![0; 12_000];
    let x = Text("prompt", "x");
    for (path, fields, loc, reason) in [
        ("/generate", vec![File("image", &good)], json!(["body", "prompt"]), "required"),
        ("/generate", vec![Text("text", " ")], json!(["body", "text"]), "whitespace"),
        ("/generate", vec![x, File("image", text)], json!(["body", "image"]), "image"),
        (
            "/generate",
            vec![Text("text", "x"), File("image", &good), File("image", text)],
            json!(["body", "image", 1]),
            "image",
        ),
        ("/generate", vec![File("image", &large)], json!(["body", "image"]), "MAX_IMAGE_BYTES"),
        (
            "/generate",
            vec![File("image", &half), File("image", &half)],
            json!(["body", "image"]),
            "together",
        ),
        (
            "/generate",
            vec![Text("text", "x"), Text("image_url", "https://example.org/cat.png")],
            json!(["body", "image_url"]),
            "IMAGE_DOWNLOAD=off",
        ),
        (
            "/generate",
            vec![Text("text", "x"), Text("max_token", "1")],
            json!(["body", "max_token"]),
            "max_tokens",
        ),
        (
            DESCRIBE,
            vec![File("image", &good), Text("max_tokens", "many")],
            json!(["body", "max_tokens"]),
            "integer",
        ),
        (DESCRIBE, vec![Text("prompt", "x")], json!(["body", "image"]), "required"),
        (
            DESCRIBE,
            vec![File("image", &good), File("image", &good)],
            json!(["body", "image"]),
            "/api/v1/batch",
        ),
        (BATCH, vec![Text("prompt", "x")], json!(["body", "images"]), "required"),
        (
            BATCH,
            vec![File("images", &good), Text("prompts", "x"), Text("prompts", "y")],
            json!(["body", "prompts"]),
            "2 prompts and 1 images",
        ),
        (
            BATCH,
            vec![File("images", &good), File("images", text), Text("prompts", "x")],
            json!(["body", "images", 1]),
            "image",
        ),
    ] {
        let reply = send(&rig, path, &fields);
        let problem = reply.problem();
        assert_eq!(problem["loc"], loc, "{problem}");
        assert!(problem["msg"].as_str().unwrap().contains(reason), "{problem}");
    }
    assert_eq!(stored(&rig, &tenant(&rig)).len(), 0, "nothing of a refused request is kept");

    let client = rig.client().with("content-type", "multipart/form-data; boundary=x");
    let reply = client.send("POST", "/generate", Some(b"--x\r\nnonsense"));
    assert_eq!(reply.status, 422, "{reply:?}");
    let reply = rig.client().post(DESCRIBE, &json!({"prompt": "x"}));
    assert_eq!(reply.status, 415, "{reply:?}");
    let reply = rig.client_with(None).with("content-type", "multipart/form-data; boundary=x");
    assert_eq!(reply.send("POST", BATCH, Some(&form(&[]))).status, 401);
}

#[test]
fn forms_are_limited_in_size_and_number() {
    let rig = Rig::with(|options| {
        options.images.max_bytes = 20_000;
        options.max_prompt_bytes = 1_000;
        options.common_limits.generate = Some(Rate { requests: 1, period_s: 3_600 });
    });
    let large = vec![0; 200_000];
    let reply = send(&rig, "/generate", &[Text("text", "x"), File("image", &large)]);
    assert_eq!(reply.status, 413, "{reply:?}");

    let fields = [Text("text", "x"), File("image", &png(40, 30))];
    let asynchronous = [("prefer", "respond-async")];
    assert_eq!(send_with(&rig, "/generate", &fields, &asynchronous).status, 202);
    let reply = send_with(&rig, "/generate", &fields, &asynchronous);
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    assert_eq!(stored(&rig, &rig.claim().task.tenant).len(), 1, "the image is shared");
}

#[test]
fn a_batch_has_errors_in_their_places() {
    let rig = Rig::start();
    let (first, second) = (png(40, 30), png(64, 64));
    let fields = [
        File("images", &first),
        File("images", &second),
        File("images", &first),
        Text("prompts", "a"),
        Text("prompts", "b"),
        Text("prompts", "c"),
    ];
    let asking = sending(&rig, BATCH, &fields);
    let claimed = [rig.claim(), rig.claim(), rig.claim()];
    let prompts: Vec<String> =
        claimed.iter().map(|claimed| shown(&rig, &claimed.task).pop().unwrap()).collect();
    assert_eq!(prompts, ["a", "b", "c"]);
    rig.finish(&claimed[2], &answer("C"));
    let error = TaskError::new(ErrorType::EngineError, "it broke");
    rig.finish(&claimed[1], &Outcome::Failed(error));
    rig.finish(&claimed[0], &answer("A"));
    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    assert_eq!((&body[0]["description"], &body[2]["description"]), (&json!("A"), &json!("C")));
    assert_eq!(
        (&body[1]["status"], &body[1]["error_message"], &body[1]["error_type"]),
        (&json!("error"), &json!("it broke"), &json!("engine_error"))
    );
}

#[test]
fn a_batch_that_finds_no_room_leaves_nothing() {
    let rig = Rig::with(|options| options.max_queue_size = 1);
    let picture = png(40, 30);
    let reply = send(&rig, BATCH, &[File("images", &picture), File("images", &picture)]);
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some());
    // The first of its tasks is cancelled, so there is room again.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let fields = [Text("text", "next"), File("image", &picture)];
    loop {
        let reply = send_with(&rig, "/generate", &fields, &[("prefer", "respond-async")]);
        if reply.status == 202 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{reply:?}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(shown(&rig, &rig.claim().task).pop().unwrap(), "next");
}

#[test]
fn images_are_reduced_if_the_server_says_so() {
    let rig = Rig::with(|options| options.images.max_pixels = Some(800 * 600));
    let url = data_url(&png(40, 30));
    for (more, expected) in [
        (json!({"images": [url]}), Some(480_000)),
        (json!({"images": [url], "max_pixels": 1_000_000}), Some(1_000_000)),
        (json!({"images": [url], "min_pixels": 500_000}), Some(500_000)),
        (json!({}), None),
    ] {
        let mut body = json!({"prompt": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(rig.client().post("/generate", &body).status, 202);
        let claimed = rig.claim();
        assert_eq!(claimed.task.pixels.max, expected, "{more}");
        rig.finish(&claimed, &answer("x"));
    }
}
