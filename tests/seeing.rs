//! Tests a system whose model sees: forms with curl, and the flags of `submit`.
#![allow(clippy::unwrap_used)] // clippy exempts only functions with `#[test]`

use std::path::PathBuf;
use std::process::Command;

use harness::cli::Cli;
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::{free_port, models};
use serde_json::{Value, json};

struct System {
    port: u16,
    cli: Cli,
    home: Home,
    _up: Process,
}

impl System {
    /// Starts the tiny model of random weights, or the one that sees nothing.
    fn start(model: &str, more: &[(&str, &str)]) -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", model)];
        let settings = [&settings[..], more].concat();
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        Client::new(port).wait_until_healthy(&mut up, true);
        Self { port, cli: Cli::new(port), home, _up: up }
    }

    fn seeing(more: &[(&str, &str)]) -> Self {
        let folder = models::fixture("vision/qwen3vl");
        let (model, projector) = (folder.join("text.gguf"), folder);
        let projector =
            [("MMPROJ", projector.to_str().expect("UTF-8")), ("MAX_IMAGE_TOKENS", "64")];
        Self::start(model.to_str().expect("UTF-8"), &[&projector[..], more].concat())
    }

    /// Runs a line of the documentation in a shell, and returns the answer.
    fn shell(&self, line: &str) -> Value {
        let line = line.replace("cat.jpg", image("dot.png").to_str().expect("UTF-8"));
        let line = line.replace("dog.jpg", image("animated.gif").to_str().expect("UTF-8"));
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("URL", format!("http://127.0.0.1:{}", self.port))
            .env("KEY", KEY)
            .output()
            .expect("sh runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {line}: {output:?}"))
    }
}

fn image(name: &str) -> PathBuf {
    models::fixture("vision/images").join(name).canonicalize().expect("a fixture")
}

const CURL: &str = "curl -s --max-time 60 -H \"X-API-Key: $KEY\"";

#[test]
fn forms_are_answered_by_a_model_that_sees() {
    let system = System::seeing(&[("DEBUG_IMAGE_FORM", "true")]);
    let options = "-F max_tokens=8 -F temperature=0";
    let form = format!("{CURL} $URL/generate -F 'text=What is this?' -F image=@cat.jpg {options}");
    let whole = system.shell(&form);
    let names: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert!(names == ["response"] && whole["response"].is_string(), "{whole}");

    let described = system.shell(&format!(
        "{CURL} $URL/api/v1/describe -F image=@cat.jpg -F 'prompt=What is this?' -F max_tokens=8 -F temperature=0 \
         -F top_p=0.9 -F top_k=40 -F seed=7"
    ));
    assert_eq!(described["description"], whole["response"], "{described}");
    assert_eq!(described["model_used"], "text");
    assert!(described["tokens_generated"].as_u64().is_some_and(|n| n <= 8), "{described}");

    let batch = system.shell(&format!(
        "{CURL} $URL/api/v1/batch -F images=@cat.jpg -F images=@dog.jpg -F 'prompts=What is this?' {options}"
    ));
    assert_eq!(batch[0]["description"], described["description"], "{batch}");
    assert!(batch[1]["description"].is_string() && batch[2].is_null(), "{batch}");

    let log = system.home.read("logs/app.log");
    let field = log.lines().find(|line| line.contains("a form has a field"));
    assert!(field.is_some_and(|line| line.contains("text")), "{log}");
    assert!(!log.contains("What is this?"), "contents are not logged");
}

#[test]
fn submit_shows_files_and_blobs() {
    let system = System::seeing(&[]);
    let path = image("dot.png");
    let args = |image: &str| -> Vec<String> {
        ["submit", "--wait", "--max-tokens", "8", "--temperature", "0", "--image", image, "What?"]
            .map(str::to_owned)
            .to_vec()
    };
    let run = |image: &str| {
        let args = args(image);
        system.cli.stdout(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let answer = run(path.to_str().unwrap());
    let blob = system.shell(&format!(
        "{CURL} $URL/blobs -H 'Content-Type: image/png' --data-binary @{}",
        path.display()
    ));
    assert_eq!(run(blob["id"].as_str().unwrap()), answer);
    let missing = system.cli.refusal(&["submit", "--image", "no-such.png", "What?"]);
    assert!(missing.contains("no-such.png is no file"), "{missing}");
}

#[test]
fn a_model_that_sees_nothing_refuses_images_and_their_files_are_deleted() {
    let system = System::start("demo", &[]);
    let told = system.cli.refusal(&["submit", "--image", image("dot.png").to_str().unwrap(), "x"]);
    assert!(told.contains("takes no images"), "{told}");
    let files = system.shell(&format!("{CURL} $URL/v1/files"));
    assert_eq!(files["data"], json!([]), "{files}");
}
