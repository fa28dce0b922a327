//! Tests of `qwen-queue model pull`, `list`, `show` and `remove`.

use std::fs;
use std::process::Output;

use harness::hub::Hub;
use harness::models::fixture;
use harness::process::{Home, binary};
use serde_json::Value;

const TOKEN: &str = "hf_secretsecretsecret";

struct System {
    home: Home,
    hub: Hub,
}

impl System {
    /// A hub with a model of two quantizations, and an empty cache.
    fn start() -> Self {
        let model = fs::read(fixture("qwen3/qwen3-f32.gguf")).expect("the fixture");
        let files = ["tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf"];
        let hub = Hub::start(files.map(|name| (name.to_owned(), model.clone())).into());
        Self { home: Home::new(), hub }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = std::process::Command::new(binary("qwen-queue"));
        command.env_clear().arg("model").args(args).current_dir(self.home.path());
        command
            .env("HF_HOME", self.home.path().join("hf"))
            .env("HF_ENDPOINT", format!("http://{}", self.hub.address()))
            .env("HF_TOKEN", TOKEN);
        let output = command.output().expect("it runs");
        for text in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(text).contains(TOKEN), "the token is never printed");
        }
        output
    }

    fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.stdout(&[args, &["--json"]].concat())).expect("JSON")
    }

    fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }
}

#[test]
fn models_are_pulled_listed_shown_and_removed() {
    let system = System::start();
    assert_eq!(system.stdout(&["list"]), "");
    let path = system.stdout(&["pull", "acme/tiny:Q4_K_M"]);
    assert!(path.ends_with("/tiny-Q4_K_M.gguf") && fs::metadata(&path).is_ok(), "{path}");
    let authorized = format!("authorization: bearer {TOKEN}");
    assert!(system.hub.seen().iter().all(|head| head.to_lowercase().contains(&authorized)));
    system.stdout(&["pull", "acme/tiny:Q8_0"]);
    let requests = system.hub.seen().len();
    assert_eq!(system.stdout(&["pull", "acme/tiny:Q4_K_M"]), path);
    assert_eq!(system.hub.seen().len(), requests, "a cached model needs no request");

    let models = system.json(&["list"]);
    let names: Vec<&Value> =
        models["models"].as_array().expect("a list").iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["acme/tiny:Q4_K_M", "acme/tiny:Q8_0"]);
    let bytes = fs::metadata(&path).expect("it is there").len();
    assert_eq!(
        (&models["models"][0]["bytes"], &models["models"][0]["format"]),
        (&bytes.into(), &"Q4_K_M".into())
    );
    let table = system.stdout(&["list"]);
    assert!(table.contains("acme/tiny:Q8_0") && table.contains("main"), "{table}");

    let shown = system.json(&["show", "acme/tiny:Q8_0"]);
    assert_eq!((&shown["architecture"], &shown["chat_template"]), (&"qwen3".into(), &true.into()));
    assert!(
        shown["context_length"].as_u64() > Some(0) && shown["files"][0]["bytes"] == bytes,
        "{shown}"
    );
    let page = system.stdout(&["show", "acme/tiny:Q8_0"]);
    assert!(page.contains("architecture    qwen3") && page.contains("tiny-Q8_0.gguf"), "{page}");
    let several = system.refusal(&["show", "acme/tiny"]);
    assert!(several.contains("acme/tiny:Q4_K_M, acme/tiny:Q8_0"), "{several}");

    let question = system.refusal(&["remove", "acme/tiny:Q8_0"]);
    assert!(question.contains("Remove acme/tiny:Q8_0") && question.contains("--yes"), "{question}");
    assert_eq!(system.json(&["list"])["models"].as_array().map(Vec::len), Some(2));
    assert!(system.stdout(&["remove", "acme/tiny:Q8_0", "--yes"]).starts_with("removed 1 model"));
    assert!(system.stdout(&["remove", "acme/tiny", "--yes"]).starts_with("removed 1 model"));
    assert_eq!(system.stdout(&["list"]), "");
    assert!(fs::metadata(&path).is_err(), "the file is gone");
    let missing = system.refusal(&["remove", "acme/tiny", "--yes"]);
    assert!(missing.contains("is not in the cache") && missing.contains("model pull"), "{missing}");
}

#[test]
fn the_demo_model_and_files_are_shown_without_a_hub() {
    let system = System::start();
    let demo = system.json(&["show", "demo"]);
    assert_eq!((&demo["architecture"], &demo["context_length"]), (&"qwen3".into(), &2048.into()));
    let file = fixture("qwen3/qwen3-f32.gguf");
    let shown = system.json(&["show", file.to_str().expect("UTF-8")]);
    assert_eq!(shown["architecture"], "qwen3");
    let missing = system.refusal(&["show", "acme/none"]);
    assert!(missing.contains("acme/none is not in the cache"), "{missing}");
    let refusal = system.refusal(&["pull", "demo"]);
    assert!(refusal.contains("part of this program"), "{refusal}");
    assert_eq!(system.hub.seen().len(), 0);
}
