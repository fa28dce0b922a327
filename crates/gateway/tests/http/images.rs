//! Tests requests with images: what reaches the task in each dialect, and helpers for the other tests of images.

use std::io::Cursor;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use image::{DynamicImage, ImageFormat, RgbImage};
use protocol::{BlobId, Part, PixelLimits, Prompt, Role, Task, TenantId};
use queue::{Blob, BlobLimits, BlobOrder, BlobPage, BlobStore, Claimed};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::openai::CHAT;
use crate::openai_files::uploaded;
use crate::rig::{OTHER_KEY, Rig, answer};

/// Returns a picture in a format. Different sizes have different bytes.
pub(crate) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8])
    });
    encoded(image.into(), format)
}

pub(crate) fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    picture(width, height, ImageFormat::Png)
}

pub(crate) fn data_url(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// Returns a chat whose message has these parts.
pub(crate) fn chat_of(parts: &Value) -> Value {
    json!({"model": "demo", "messages": [{"role": "user", "content": parts}]})
}

/// Returns a part of OpenAI's with an image.
pub(crate) fn image_url(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

pub(crate) fn store(rig: &Rig) -> BlobStore {
    BlobStore::new(rig.broker.clone(), BlobLimits::default())
}

/// Returns the bytes of a blob.
pub(crate) fn bytes_of(rig: &Rig, tenant: &TenantId, id: &str) -> Vec<u8> {
    let id: BlobId = id.parse().unwrap_or_else(|error| panic!("{id}: {error}"));
    rig.wait(async {
        let found = store(rig).find(tenant, id).await.unwrap().expect("it is stored");
        let mut bytes = Vec::new();
        let mut pieces = found.read();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        bytes
    })
}

/// Returns the stored images of a tenant.
pub(crate) fn stored(rig: &Rig, tenant: &TenantId) -> Vec<Blob> {
    let page = BlobPage {
        purpose: Some(".image".into()),
        after: None,
        limit: 1000,
        order: BlobOrder::Oldest,
    };
    rig.wait(store(rig).list(tenant, &page)).unwrap().blobs
}

/// Returns the tenant of the tests' first key.
pub(crate) fn tenant(rig: &Rig) -> TenantId {
    rig.submit("Who am I?");
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("You"));
    claimed.task.tenant
}

/// Sends a request that may wait, and returns its task and its reply.
pub(crate) fn task_of(rig: &Rig, path: &str, body: &Value) -> (Claimed, Reply) {
    let (client, path, body) = (rig.client(), path.to_owned(), body.clone());
    let asking = thread::spawn(move || client.post(&path, &body));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("A cat"));
    (claimed, asking.join().unwrap())
}

/// Describes the parts of the last message: texts as they are, and images by their bytes' number among `known`.
fn shown(rig: &Rig, task: &Task, known: &[&[u8]]) -> Vec<String> {
    let (Prompt::Chat(messages) | Prompt::Continued(messages)) = &task.prompt else {
        panic!("{:?}", task.prompt)
    };
    let part = |part: &Part| match part {
        Part::Text { text } => text.clone(),
        Part::ToolResult { text, .. } => format!("result:{text}"),
        Part::Image { blob } => {
            let bytes = bytes_of(rig, &task.tenant, blob);
            let index = known.iter().position(|known| *known == bytes);
            format!("image {}", index.expect("one of the request"))
        }
        other => format!("{other:?}"),
    };
    messages.last().unwrap().parts.iter().map(part).collect()
}

/// Returns the parameter and the message of a refused chat.
pub(crate) fn refused(rig: &Rig, parts: &Value) -> (String, String) {
    let reply = rig.client().post(CHAT, &chat_of(parts));
    assert_eq!(reply.status, 400, "{reply:?}");
    let error = &reply.json()["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (text("param"), text("message"))
}

#[test]
fn chats_keep_images_in_their_places() {
    let rig = Rig::start();
    let (first, second) = (png(40, 30), picture(64, 64, ImageFormat::Jpeg));
    let (a, b) = (data_url(&first), data_url(&second));
    let file = uploaded(&rig.client(), "vision", &second);
    for (messages, expected) in [
        (json!([{"role": "user", "content": [image_url(&a)]}]), vec!["image 0"]),
        (
            json!([{"role": "user", "content": [
                {"type": "text", "text": "x"}, {"type": "text", "text": "y"}, image_url(&a),
                {"type": "text", "text": "z"}, {"type": "image_url", "image_url": b}, image_url(&a),
            ]}]),
            vec!["x\ny", "image 0", "z", "image 1", "image 0"],
        ),
        (
            json!([{"role": "user", "content": [{"type": "input_image", "file_id": file}, "x"]}]),
            vec!["image 1", "x"],
        ),
        (json!([{"role": "user", "content": "x", "image": a}]), vec!["image 0", "x"]),
        (
            json!([{"role": "user", "content": "x", "image": format!("![cat]({b})")}]),
            vec!["image 1", "x"],
        ),
        (
            json!([{"role": "user", "content": "x", "images": [STANDARD.encode(&first), b]}]),
            vec!["image 0", "image 1", "x"],
        ),
        (
            json!([
                {"role": "user", "content": "Look"},
                {"role": "assistant", "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": [
                    {"type": "text", "text": "seen"}, image_url(&b)]},
            ]),
            vec!["result:seen", "image 1"],
        ),
    ] {
        let body = json!({"model": "demo", "messages": messages});
        let (claimed, reply) = task_of(&rig, CHAT, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(shown(&rig, &claimed.task, &[&first, &second]), expected, "{messages}");
    }
}

#[test]
fn every_dialect_takes_images() {
    let rig = Rig::start();
    let (picture, url) = (png(40, 30), data_url(&png(40, 30)));
    let base64 = STANDARD.encode(&picture);
    let block = json!({"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": base64}});
    let file = json!({"type": "image", "source": {
        "type": "file", "file_id": uploaded(&rig.client(), "user_data", &picture)}});
    let anthropic = |content: &Value| json!({"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": content}]});
    let result = json!([{"type": "tool_result", "tool_use_id": "c", "is_error": true, "content": [
        {"type": "text", "text": "seen"}, block, {"type": "text", "text": "end"}]}]);
    for (path, body, expected) in [
        (
            "/v1/messages",
            anthropic(&json!([{"type": "text", "text": "x"}, block])),
            vec!["x", "image 0"],
        ),
        ("/v1/messages", anthropic(&json!([file])), vec!["image 0"]),
        ("/v1/messages", anthropic(&result), vec!["result:Error: seen", "image 0", "end"]),
        ("/v1/messages/count_tokens", anthropic(&json!([block])), vec!["image 0"]),
        (
            "/v1/responses",
            json!({"model": "demo", "input": [{"role": "user", "content": [
                {"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": url}]}]}),
            vec!["x", "image 0"],
        ),
        ("/v2/demo/runsync", json!({"input": {"prompt": "x", "image": url}}), vec!["image 0", "x"]),
        (
            "/v1/predictions",
            json!({"version": "demo", "input": {"prompt": "x", "image": url}}),
            vec!["image 0", "x"],
        ),
        ("/generate", json!({"prompt": "x", "images": [url]}), vec!["image 0", "x"]),
        (
            "/generate",
            json!({"messages": [{"role": "user", "content": [image_url(&url), "x"]}]}),
            vec!["image 0", "x"],
        ),
    ] {
        let (claimed, reply) = task_of(&rig, path, &body);
        assert!(reply.status < 300, "{path}: {reply:?}");
        assert_eq!(shown(&rig, &claimed.task, &[&picture]), expected, "{path} {body}");
        assert_eq!(claimed.task.prompt.images(), 1);
    }
}

#[test]
fn a_prediction_repeats_its_input_without_the_image() {
    let rig = Rig::start();
    let url = data_url(&png(200, 200));
    let body = json!({"version": "demo", "input": {"prompt": "x", "image": url}});
    let (_, reply) = task_of(&rig, "/v1/predictions", &body);
    let expected = json!({"prompt": "x", "image": "data:image/png;base64,…"});
    assert_eq!(reply.json()["input"], expected);
}

#[test]
fn raw_prompts_have_images_where_their_pads_are() {
    let rig = Rig::start();
    let pictures = [png(40, 30), png(30, 40)];
    let urls: Vec<String> = pictures.iter().map(|picture| data_url(picture)).collect();
    let prompt = "<|vision_start|><|image_pad|><|vision_end|> or <|image_pad|>?";
    let body = json!({"prompt": prompt, "raw": true, "images": urls, "min_pixels": 4096, "max_pixels": 65536});
    let (claimed, _) = task_of(&rig, "/generate", &body);
    let Prompt::RawImages { text, images } = &claimed.task.prompt else { panic!("{claimed:?}") };
    assert_eq!(text, prompt);
    for (blob, picture) in images.iter().zip(&pictures) {
        assert_eq!(bytes_of(&rig, &claimed.task.tenant, blob), *picture);
    }
    let limits = PixelLimits { min: Some(4096), max: Some(65536) };
    assert_eq!((images.len(), claimed.task.pixels), (2, limits));

    let reply =
        rig.client().post("/generate", &json!({"prompt": prompt, "raw": true, "images": urls[0]}));
    let problem = reply.problem();
    assert_eq!(problem["loc"], json!(["body", "images"]));
    assert!(
        problem["msg"].as_str().unwrap().contains("it has 2, and there are 1 images"),
        "{problem}"
    );
}

#[test]
fn low_detail_limits_the_pixels() {
    let rig = Rig::start();
    let part =
        json!({"type": "image_url", "image_url": {"url": data_url(&png(40, 30)), "detail": "low"}});
    let (claimed, _) = task_of(&rig, CHAT, &chat_of(&json!([part])));
    assert_eq!(claimed.task.pixels, PixelLimits { min: None, max: Some(262_144) });
}

#[test]
fn stored_responses_keep_their_images() {
    let rig = Rig::start();
    let picture = png(40, 30);
    let body = json!({"model": "demo", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": data_url(&picture)}]}]});
    let (_, reply) = task_of(&rig, "/v1/responses", &body);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let items = rig.client().get(&format!("/v1/responses/{id}/input_items")).json();
    let part = &items["data"][0]["content"][0];
    assert!(part["file_id"].as_str().unwrap().starts_with("file-"), "{part}");
    assert_eq!((&part["type"], &part["detail"]), (&json!("input_image"), &json!("auto")));
    assert!(part.get("pending").is_none() && part.get("image_url").is_none(), "{part}");

    let next = json!({"model": "demo", "previous_response_id": id, "input": "And now?"});
    let (claimed, _) = task_of(&rig, "/v1/responses", &next);
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!("{claimed:?}") };
    let blob = messages[0].parts[0].image().expect("the image of before");
    assert_eq!(bytes_of(&rig, &claimed.task.tenant, blob), picture);
    assert_eq!(stored(&rig, &claimed.task.tenant).len(), 1);
}

#[test]
fn images_belong_to_users_and_tools() {
    let rig = Rig::start();
    let url = data_url(&png(40, 30));
    for role in ["system", "assistant"] {
        let messages =
            json!([{"role": role, "content": [image_url(&url)]}, {"role": "user", "content": "x"}]);
        let reply = rig.client().post(CHAT, &json!({"model": "demo", "messages": messages}));
        assert_eq!(reply.status, 400, "{reply:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["param"], "messages.0.content");
        assert!(error["message"].as_str().unwrap().contains(role), "{error}");
    }
}

#[test]
fn another_keys_blob_does_not_exist() {
    let rig = Rig::start();
    let other = rig.client_with(Some(OTHER_KEY));
    let file = uploaded(&other, "vision", &png(40, 30));
    let unknown = rig.client().post(CHAT, &chat_of(&json!([image_url(&file)])));
    let error = &unknown.json()["error"];
    assert_eq!((unknown.status, &error["param"]), (400, &json!("messages.0.content.0.image_url")));
    assert!(error["message"].as_str().unwrap().contains("there is no file or blob"), "{error}");
    // A file that is no image is refused by its content, and so are blobs of the service itself.
    let text = uploaded(&rig.client(), "vision", b"just a text");
    let reply = rig.client().post(CHAT, &chat_of(&json!([image_url(&text)])));
    assert!(reply.text.contains("supported are PNG"), "{reply:?}");
    let (_, reply) = task_of(&rig, "/v1/responses", &json!({"model": "demo", "input": "x"}));
    let record = reply.json()["id"].as_str().unwrap().replace("resp_", "file-");
    let reply = rig.client().post(CHAT, &chat_of(&json!([image_url(&record)])));
    assert!(reply.text.contains("there is no file or blob"), "{reply:?}");
}

#[test]
fn the_role_of_a_tools_message_stays() {
    let rig = Rig::start();
    let messages = json!([{"role": "tool", "tool_call_id": "c", "content": [image_url(&data_url(&png(40, 30)))]}]);
    let (claimed, _) = task_of(&rig, CHAT, &json!({"model": "demo", "messages": messages}));
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!("{claimed:?}") };
    assert_eq!(messages[0].role, Role::Tool);
    assert!(
        matches!(&messages[0].parts[0], Part::ToolResult { call_id: Some(id), text } if id == "c" && text.is_empty())
    );
    assert!(messages[0].parts[1].image().is_some());
}
