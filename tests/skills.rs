//! Tests skills from end to end, with a model that sees and answers at random: what constraints and parsers make of its
//! answers, the drawn images, the command line, and files that change while tasks run.
#![allow(clippy::unwrap_used)] // clippy exempts only functions with `#[test]`

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::cli::Cli;
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::{free_port, models, wait_for};
use image::Rgb;
use image::imageops::FilterType;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Finds two objects. The schema makes the model write boxes, wherever they are.
const FIND: &str = r#"
name = "find"
title = "Find"
description = "Finds two objects."

[input]
images = [1, 1]

[prompt]
user = "Find two objects."

[answer]
output = "boxes"
draw = true
schema = '''
{"type": "array", "minItems": 2, "maxItems": 2, "items": {
  "type": "object", "additionalProperties": false, "required": ["bbox_2d", "label"],
  "properties": {
    "bbox_2d": {"type": "array", "minItems": 4, "maxItems": 4,
      "items": {"type": "integer", "minimum": 0, "maximum": 1000}},
    "label": {"enum": ["cat", "dog"]}
  }
}}
'''

[sampling]
temperature = 1.0
max_tokens = 400
"#;

struct System {
    client: Client,
    cli: Cli,
    skills: TempDir,
    home: Home,
    _up: Process,
}

impl System {
    fn start() -> Self {
        let (home, port, skills) = (Home::new(), free_port(), TempDir::new().unwrap());
        let folder = models::fixture("vision/qwen3vl");
        let model = folder.join("text.gguf");
        let port_text = port.to_string();
        let settings = [
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("MODEL_NAME", model.to_str().unwrap()),
            ("MMPROJ", folder.to_str().unwrap()),
            ("MAX_IMAGE_TOKENS", "64"),
            ("SKILLS_DIR", skills.path().to_str().unwrap()),
        ];
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        let client = Client::new(port);
        client.wait_until_healthy(&mut up, true);
        Self { client, cli: Cli::new(port), skills, home, _up: up }
    }

    fn write(&self, name: &str, text: &str) {
        let hidden = self.skills.path().join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.skills.path().join(format!("{name}.toml"))).unwrap();
    }

    fn log_says(&self, text: &str) {
        let what = format!("app.log to say {text}");
        wait_for(&what, Duration::from_secs(10), || {
            self.home.read("logs/app.log").contains(text).then_some(())
        });
    }

    /// Waits until a skill is there, or is not.
    fn wait_for_skill(&self, name: &str, is_there: bool) {
        wait_for(name, Duration::from_secs(10), || {
            let listed = self.client.get("/api/v1/skills").body.to_string();
            (listed.contains(&format!("\"name\":\"{name}\"")) == is_there).then_some(())
        });
    }
}

fn image(name: &str) -> PathBuf {
    models::fixture("vision/images").join(name).canonicalize().expect("a fixture")
}

/// Checks that boxes in pixels are those that the model wrote, in order and within an image.
fn check_boxes(structured: &Value, size: (u32, u32)) {
    let found = structured.as_array().unwrap();
    assert_eq!(found.len(), 2, "{structured}");
    for item in found {
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let (raw, pixels) = (numbers(&item["bbox_2d"]), numbers(&item["pixels"]["box"]));
        let sides = [size.0, size.1].map(f64::from);
        for axis in 0..2 {
            let mut expected =
                [raw[axis], raw[axis + 2]].map(|number| number / 1000.0 * sides[axis]);
            expected.sort_by(f64::total_cmp);
            let both = [pixels[axis], pixels[axis + 2]];
            assert!(
                (both[0] - expected[0]).abs() < 0.01 && (both[1] - expected[1]).abs() < 0.01,
                "{item}"
            );
        }
    }
}

#[test]
fn boxes_are_mapped_to_the_image_and_drawn_on_it() {
    let system = System::start();
    system.write("find", FIND);
    system.wait_for_skill("find", true);
    let photo = image("photo.jpg");
    let size = image::image_dimensions(&photo).unwrap();
    let saved = system.skills.path().join("drawn.png");
    let arguments =
        ["skill", "run", "find", "--image", photo.to_str().unwrap(), "--json", "--save"];
    let printed = system.cli.stdout(&[&arguments[..], &[saved.to_str().unwrap()]].concat());
    let result: Value =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    check_boxes(&result["structured"], size);
    let raw: Value = serde_json::from_str(result["result"].as_str().unwrap()).unwrap();
    assert_eq!(raw[0]["bbox_2d"], result["structured"][0]["bbox_2d"], "the answer is kept");
    // A small image is enlarged, so that labels can be read.
    let drawn = image::open(&saved).unwrap().to_rgb8();
    assert_eq!(drawn.width() * size.1, drawn.height() * size.0, "{:?}", drawn.dimensions());
    let original = image::open(&photo).unwrap().to_rgb8();
    let original =
        image::imageops::resize(&original, drawn.width(), drawn.height(), FilterType::Nearest);
    let differs =
        |(a, b): &(&Rgb<u8>, &Rgb<u8>)| (0..3).any(|channel| a[channel].abs_diff(b[channel]) > 60);
    let changed = drawn.pixels().zip(original.pixels()).filter(differs).count();
    assert!(changed > 300, "{changed} pixels are drawn");

    // The drawn image is the owner's alone.
    let path = result["annotated_image"].as_str().unwrap();
    assert_eq!(Client::with_key(system.client.port(), "another-key").get(path).status, 401);
}

#[test]
fn turned_photos_have_boxes_as_they_are_looked_at() {
    let system = System::start();
    system.write("find", FIND);
    system.wait_for_skill("find", true);
    let path = image("turned-5.webp"); // its EXIF data say that it lies on its side
    let (height, width) = image::image_dimensions(&path).unwrap();
    let arguments = ["skill", "run", "find", "--json", "--image", path.to_str().unwrap()];
    let result: Value = serde_json::from_str(&system.cli.stdout(&arguments)).unwrap();
    check_boxes(&result["structured"], (width, height));
}

#[test]
fn every_built_in_skill_ends_with_a_result() {
    let system = System::start();
    let listed = system.client.get("/api/v1/skills").body;
    for skill in listed["skills"].as_array().unwrap() {
        let name = skill["name"].as_str().unwrap();
        if ["computer", "mobile"].contains(&name) {
            continue; // the tiny model's context is shorter than the lists of actions
        }
        let mut arguments = vec!["skill", "run", name, "--json", "--max-tokens", "12"];
        let (picture, film) = (image("dot.png"), image("animated.gif"));
        if skill["images"]["min"] == 1 {
            arguments.extend(["--image", picture.to_str().unwrap()]);
        }
        if skill["videos"]["min"] == 1 {
            arguments.extend(["--video", film.to_str().unwrap()]);
        }
        if name == "spatial" {
            arguments.extend(["--set", "objects=cat"]);
        }
        if name == "chat" {
            arguments.push("Open the mail");
        }
        let printed = system.cli.stdout(&arguments);
        let result: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(result["status"], "completed", "{name}: {result}");
        let is_text = result["structured"].is_string();
        let explained = result["warnings"].as_array().is_some_and(|told| !told.is_empty());
        assert!(is_text || explained, "{name}: what is not text is explained: {result}");
    }
}

#[test]
fn a_skill_is_dropped_in_broken_mended_and_removed_while_tasks_run() {
    let system = System::start();
    let picture = image("dot.png");
    let run = |name: &str| {
        let picture = picture.to_str().unwrap();
        system.cli.stdout(&[
            "skill",
            "run",
            name,
            "--json",
            "--max-tokens",
            "4",
            "--image",
            picture,
        ])
    };
    let file = system.skills.path().join("find.toml");
    system.write("find", FIND);
    system.log_says("the skill 'find' is read from");
    run("find");
    system.write(
        "find",
        &FIND.replace("Find two objects.\"\n\n[answer]", "Find {{ twoo }} objects.\"\n\n[answer]"),
    );
    system.log_says("is refused, line 10: prompt.user: undefined value; the version of 'find' before stays in use");
    let checked = system.cli.refusal(&["skill", "check", file.to_str().unwrap()]);
    assert!(checked.contains("one file is wrong"), "{checked}");
    run("find");
    system.write("find", &FIND.replace("\"Find\"", "\"Find again\""));
    wait_for("the mended skill", Duration::from_secs(10), || {
        let shown = system.client.get("/api/v1/skills/find").body;
        (shown["title"] == "Find again").then_some(())
    });
    run("find");
    fs::remove_file(&file).unwrap();
    system.wait_for_skill("find", false);
    let told = system.cli.refusal(&["skill", "run", "find", "--image", picture.to_str().unwrap()]);
    assert!(told.contains("there is no skill 'find'"), "{told}");
    assert_eq!(json!(system.client.get("/health").status), json!(200));
}

#[test]
fn files_are_checked_without_a_gateway() {
    let folder = TempDir::new().unwrap();
    let cli = Cli::new(1);
    let file = folder.path().join("spatial.toml");
    fs::write(&file, cli.stdout(&["skill", "file", "spatial"])).unwrap();
    let told = cli.stdout(&["skill", "check", folder.path().to_str().unwrap()]);
    assert!(told.ends_with("the skill 'spatial' is right"), "{told}");
    let told = cli.refusal(&["skill", "file", "nothing"]);
    assert!(told.contains("no built-in skill nothing"), "{told}");
}
