//! Tests skills: what is told of them, what reaches the task in each form, what comes back, and files that change.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::{
    BlobId, Completion, Outcome, Part, Prompt, Role, SkillAnswer, SkillOutput, SkillUse, Task,
    VisionFamily, WorkerStatus,
};
use serde_json::{Value, json};
use skills::Skills;

use crate::client::Reply;
use crate::forms::Field::{File, Text};
use crate::forms::{send, sending, shown};
use crate::images::{data_url, image_url, png, stored, tenant};
use crate::openai::CHAT;
use crate::rig::{Rig, answer};

const OCR: &str = "/api/v1/skills/ocr";

const OWN: &str = r#"
name = "own"
title = "Own"
description = "A skill of a test."

[fields.who]
type = "text"
description = "Whom to greet."

[prompt]
system = "You greet."
user = "Greet {{ who }}."
"#;

/// The texts of a prompt by their roles.
type Texts = Vec<(Role, String)>;

fn texts(task: &Task) -> Texts {
    let Prompt::Chat(messages) = &task.prompt else { panic!("{:?}", task.prompt) };
    messages.iter().map(|message| (message.role, message.text())).collect()
}

fn problems(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 422, "{}", reply.text);
    let listed = reply.json()["detail"].as_array().cloned().unwrap();
    let field = |problem: &Value| problem["loc"].as_array().unwrap()[1..].to_vec();
    listed.iter().map(|problem| json!(field(problem)).to_string()).collect()
}

/// Returns an outcome that a skill has read.
fn read(text: &str, annotated: &[BlobId]) -> Outcome {
    let Outcome::Completed(completion) = answer(text) else { unreachable!() };
    let skill = SkillAnswer {
        name: "ocr".into(),
        structured: Some(json!([{"text_content": "Hi", "pixels": {"box": [1, 2, 3, 4]}}])),
        annotated_images: annotated.to_vec(),
        warnings: vec!["the list was cut".into()],
    };
    Outcome::Completed(Completion { skill: Some(skill), ..completion })
}

#[test]
fn skills_are_listed_and_described() {
    let rig = Rig::start();
    let listed = rig.client().get("/api/v1/skills").json();
    let names: Vec<&Value> =
        listed["skills"].as_array().unwrap().iter().map(|skill| &skill["name"]).collect();
    let expected = [
        "chat",
        "computer",
        "describe",
        "document",
        "mobile",
        "ocr",
        "recognize",
        "spatial",
        "video",
    ];
    assert_eq!(names, expected);
    let ocr = rig.client().get(OCR).json();
    assert_eq!(ocr, listed["skills"][5]);
    assert_eq!(
        ocr["schema"]["properties"]["level"]["enum"],
        json!(["page", "line", "word", "form"])
    );
    assert_eq!((&ocr["images"], &ocr["draws"]), (&json!({"min": 1, "max": 1}), &json!(true)));
    assert_eq!(ocr["outputs"], json!(["text", "json", "boxes"]));
    let missing = rig.client().get("/api/v1/skills/ocrr");
    assert_eq!(missing.status, 404);
    assert!(
        missing.text.contains("there is no skill 'ocrr'. Available: chat, computer"),
        "{}",
        missing.text
    );
    assert_eq!(rig.client_with(None).get("/api/v1/skills").status, 401);
}

#[test]
fn a_form_waits_for_what_the_skill_reads() {
    let rig = Rig::start();
    let image = png(30, 20);
    let asking = sending(&rig, OCR, &[File("image", &image), Text("level", "word")]);
    let claimed = rig.claim();
    let task = &claimed.task;
    let expected = SkillUse {
        name: "ocr".into(),
        output: SkillOutput::Boxes,
        scale: 1000,
        actions: vec![],
        draw: true,
        command: None,
    };
    assert_eq!(task.skill, Some(expected));
    let parts = shown(&rig, task);
    assert_eq!(parts[0], format!("{} bytes", image.len()));
    assert!(
        parts[1].starts_with("Spotting all the text in the image with word-level"),
        "{parts:?}"
    );
    assert_eq!(
        (task.max_tokens, task.sampling.temperature),
        (2048, Some(0.0)),
        "MAX_NEW_TOKENS is less"
    );
    assert_eq!((task.pixels.min, task.pixels.max), (Some(524_288), Some(2_097_152)));
    let (first, second) = (BlobId::new(), BlobId::new());
    rig.finish(&claimed, &read("[{…", &[first, second]));
    let reply = asking.join().unwrap();
    let body = reply.json();
    assert_eq!((reply.status, &body["result"]), (200, &json!("[{…")), "{body}");
    assert_eq!(body["structured"][0]["pixels"]["box"], json!([1, 2, 3, 4]));
    let paths = [first, second].map(|id| format!("/blobs/{id}/content"));
    assert_eq!(
        (&body["annotated_image"], &body["annotated_images"]),
        (&json!(paths[0]), &json!(paths))
    );
    assert_eq!(body["warnings"], json!(["the list was cut"]));
    let again = rig.client().get(&format!("/result/{}", task.id)).json();
    assert_eq!(again, body, "it is kept");
}

#[test]
fn json_is_queued_and_its_own_parameters_take_precedence() {
    let rig = Rig::start();
    let body = json!({
        "image": data_url(&png(8, 8)), "level": "form", "form": {"total": ""}, "prompt": "Use euros.",
        "temperature": 0.5, "max_tokens": 9, "max_pixels": 100_000, "priority": "high", "metadata": {"a": "b"},
    });
    let queued = rig.client().post(OCR, &body);
    assert_eq!(queued.status, 202, "{}", queued.text);
    let task = rig.claim().task;
    assert_eq!(task.id.to_string(), queued.json()["task_id"]);
    assert_eq!((task.max_tokens, task.sampling.temperature), (9, Some(0.5)));
    assert_eq!((task.pixels.min, task.pixels.max), (None, Some(100_000)));
    assert_eq!(task.skill.as_ref().unwrap().output, SkillOutput::Json);
    let expected = "Extract the key-value information in the format: {\"total\": \"\"}\nUse euros.";
    assert_eq!(texts(&task), [(Role::User, expected.into())]);
    assert_eq!(task.metadata["a"], "b");

    let chat = json!({"prompt": "Hi", "system": "Be brief."});
    assert_eq!(rig.client().post("/api/v1/skills/chat", &chat).status, 202);
    let task = rig.claim().task;
    assert_eq!(texts(&task), [(Role::System, "Be brief.".into()), (Role::User, "Hi".into())]);
    assert_eq!(task.sampling.temperature, None);
}

#[test]
fn requests_are_refused_by_field_and_leave_nothing() {
    let rig = Rig::start();
    let image = data_url(&png(8, 8));
    for (path, body, fields) in [
        (OCR, json!({}), vec![r#"["images"]"#]),
        (
            OCR,
            json!({"images": [image, image], "level": "x"}),
            vec![r#"["images"]"#, r#"["level"]"#],
        ),
        (OCR, json!({"image": image, "images": [image]}), vec![r#"["images"]"#]),
        (OCR, json!({"image": image, "levle": "word"}), vec![r#"["levle"]"#]),
        (
            OCR,
            json!({"image": image, "messages": [], "raw": true}),
            vec![r#"["messages"]"#, r#"["raw"]"#],
        ),
        (OCR, json!({"image": image, "temperature": 9}), vec![r#"["temperature"]"#]),
        (OCR, json!({"image": image, "model": "gpt"}), vec![r#"["model"]"#]),
        (OCR, json!([1]), vec!["[]"]),
        ("/api/v1/skills/spatial", json!({"image": image}), vec![r#"["objects"]"#]),
        ("/api/v1/skills/computer", json!({"image": image}), vec![r#"["prompt"]"#]),
        ("/api/v1/skills/video", json!({"image": image}), vec![r#"["images"]"#, r#"["videos"]"#]),
        ("/api/v1/skills/chat", json!({"prompt": "x", "system": ""}), vec![r#"["system"]"#]),
    ] {
        assert_eq!(
            problems(&rig.client().post(path, &body)),
            fields,
            "{path} {}",
            body.to_string().len()
        );
    }
    let both = send(&rig, OCR, &[File("image", &png(8, 8)), Text("image", &image)]);
    assert_eq!(problems(&both), [r#"["images"]"#]);
    assert_eq!(rig.client().post("/api/v1/skills/none", &json!({})).status, 404);
    assert!(stored(&rig, &tenant(&rig)).is_empty(), "no image is kept");
}

#[test]
fn each_image_of_a_batch_is_a_task() {
    let rig = Rig::start();
    let images = [png(8, 8), png(9, 9)];
    let fields = [File("images", &images[0]), File("images", &images[1]), Text("objects", "cat")];
    let asking = sending(&rig, "/api/v1/skills/spatial/batch", &fields);
    let claimed = [rig.claim(), rig.claim()];
    for (index, claimed) in claimed.iter().enumerate() {
        let parts = shown(&rig, &claimed.task);
        assert!(parts[1].contains("\"cat\""), "{parts:?}");
        rig.finish(claimed, &read(&format!("[{index}]"), &[]));
    }
    let body = asking.join().unwrap().json();
    let texts: Vec<&Value> = body.as_array().unwrap().iter().map(|one| &one["result"]).collect();
    assert_eq!(texts, ["[0]", "[1]"], "{body}");
    assert_eq!(body[0]["structured"][0]["text_content"], "Hi");
}

#[test]
fn videos_come_in_forms_and_json() {
    let rig = Rig::start();
    let video = crate::videos::gif();
    let asking =
        sending(&rig, "/api/v1/skills/video", &[File("video", &video), Text("task", "events")]);
    let claimed = rig.claim();
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!() };
    assert!(
        matches!(messages[0].parts[..], [Part::Video { .. }, Part::Text { .. }]),
        "{messages:?}"
    );
    assert_eq!(claimed.task.skill.as_ref().unwrap().output, SkillOutput::Events);
    rig.finish(&claimed, &answer("[]"));
    assert_eq!(asking.join().unwrap().status, 200);

    let url = crate::videos::video_data_url(&video);
    for body in [json!({"prompt": "x", "videos": [url]}), json!({"prompt": "x", "videos": url})] {
        assert_eq!(rig.client().post("/generate", &body).status, 202);
        let task = rig.claim().task;
        let Prompt::Chat(messages) = &task.prompt else { panic!() };
        assert!(matches!(messages[0].parts[0], Part::Video { .. }), "{messages:?}");
    }
    let raw = json!({"prompt": "x", "videos": [url], "raw": true});
    assert_eq!(problems(&rig.client().post("/generate", &raw)), [r#"["videos"]"#]);
}

#[test]
fn a_chat_of_openai_names_a_skill() {
    let rig = Rig::start();
    let chat = |skill: Value| {
        json!({
            "model": "demo", "skill": skill,
            "messages": [
                {"role": "system", "content": "Answer in German."},
                {"role": "user", "content": [image_url(&data_url(&png(8, 8))), {"type": "text", "text": "the cats"}]},
            ],
        })
    };
    let client = rig.client();
    let body = chat(json!({"name": "spatial", "objects": "cat"}));
    let asking = thread::spawn(move || client.post(CHAT, &body));
    let claimed = rig.claim();
    let said = texts(&claimed.task);
    assert_eq!(said[0], (Role::System, "Answer in German.".into()));
    assert!(said[1].1.ends_with("Report bbox coordinates in JSON format.\nthe cats"), "{said:?}");
    assert_eq!(claimed.task.max_tokens, 2048);
    rig.finish(&claimed, &read("[]", &[]));
    let reply = asking.join().unwrap().json();
    assert_eq!(reply["choices"][0]["message"]["content"], "[]");
    assert_eq!(reply["skill"]["name"], "ocr");
    assert_eq!(reply["skill"]["structured"][0]["text_content"], "Hi");

    let client = rig.client();
    let mut body = chat(json!("describe"));
    body["stream"] = json!(true);
    let asking = thread::spawn(move || client.post(CHAT, &body));
    rig.finish(&rig.claim(), &read("A cat", &[]));
    let streamed = asking.join().unwrap().text;
    let last = streamed.lines().find(|line| line.contains("\"finish_reason\":\"stop\"")).unwrap();
    assert!(last.contains("\"skill\":{\"name\":\"ocr\",\"structured\":["), "{streamed}");
    assert_eq!(streamed.matches("\"skill\"").count(), 1, "{streamed}");

    for (skill, field) in [
        (json!("nothing"), "skill"),
        (json!(3), "skill"),
        (json!({"level": "word"}), "skill"),
        (json!({"name": "ocr", "level": "letter"}), "skill.level"),
        (json!("spatial"), "skill.objects"),
    ] {
        let reply = rig.client().post(CHAT, &chat(skill.clone()));
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(field)),
            "{skill}"
        );
    }
}

#[test]
fn each_family_gets_its_own_prompt() {
    let rig = Rig::start();
    let asked = |rig: &Rig| {
        let body = json!({"image": data_url(&png(8, 8)), "objects": "cat"});
        assert_eq!(rig.client().post("/api/v1/skills/spatial", &body).status, 202);
        texts(&rig.claim().task)[0].1.clone()
    };
    assert!(asked(&rig).starts_with("Locate every instance"));
    let mut report = crate::images_kept::served(Some(true));
    report.family = Some(VisionFamily::Qwen25Vl);
    rig.report_of("demo", WorkerStatus::Ready, vec![report]);
    thread::sleep(Duration::from_millis(1_100)); // the list of workers is kept for a second
    assert!(asked(&rig).starts_with("Outline the position of each"));
}

#[test]
fn own_skills_change_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let skills = Arc::new(Skills::new(Some(folder.path().to_owned())));
    let rig = Rig::with(|options| options.skills = Arc::clone(&skills));
    let write = |text: &str| replace(folder.path(), text);
    let ask = || {
        let reply = rig.client().post("/api/v1/skills/own", &json!({"who": "Ann"}));
        match reply.status {
            202 => Some(texts(&rig.claim().task)),
            404 => None,
            other => panic!("{other}: {}", reply.text),
        }
    };
    let until = |what: &str, expected: Option<Texts>| {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let seen = ask();
            if seen == expected {
                return;
            }
            assert!(Instant::now() < limit, "{what}: {seen:?}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    assert_eq!(ask(), None);
    write(OWN);
    let greets = |word: &str| {
        Some(vec![(Role::System, "You greet.".to_owned()), (Role::User, format!("{word} Ann."))])
    };
    until("it is read", greets("Greet"));
    write(&OWN.replace("{{ who }}", "{{ whom }}"));
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(ask(), greets("Greet"), "a broken file changes nothing");
    write(&OWN.replace("Greet {{", "Welcome {{"));
    until("it is mended", greets("Welcome"));
    fs::remove_file(folder.path().join("own.toml")).unwrap();
    until("it is gone", None);
}

fn replace(folder: &Path, text: &str) {
    fs::write(folder.join(".own.toml"), text).unwrap();
    fs::rename(folder.join(".own.toml"), folder.join("own.toml")).unwrap();
}
