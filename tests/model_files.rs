//! Names of models as people paste them, and files that change while they are served.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use harness::client::Client;
use harness::hub::Hub;
use harness::models::fixture;
use harness::process::{Home, KEY, Process};
use harness::{free_port, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// `up` with a model, in a home of its own.
fn up(home: &Home, settings: &[(&str, &str)]) -> (Process, Client) {
    let port = free_port();
    let port_text = port.to_string();
    let mut all = vec![("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    all.extend_from_slice(settings);
    let mut process = Process::start(home, "qwen-queue", &["up"], &all);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    (process, client)
}

fn ask(client: &Client) -> Value {
    let body = json!({"prompt": "the lease ends", "temperature": 0, "max_tokens": 8});
    client.wait_for_result(&client.submit(&body), SOON).body
}

/// The process that serves a file which becomes something else.
fn serve_and_change_file(name: &str, change: impl FnOnce(&Path)) -> (Home, Process) {
    let home = Home::new();
    let path = home.path().join("model.gguf");
    fs::copy(fixture(name), &path).expect("a copy");
    let (mut up, client) = up(&home, &[("MODEL_NAME", path.to_str().expect("UTF-8"))]);
    let before = ask(&client);
    assert_eq!(before["status"], "completed", "{before}");
    std::thread::sleep(Duration::from_millis(50));
    change(&path);
    let body = json!({"prompt": "the lease ends", "temperature": 0, "max_tokens": 8});
    let task = client.try_post("/generate", &body);
    if let Some(task) = task.and_then(|answer| Some(answer.body["task_id"].as_str()?.to_owned())) {
        wait_for("an end of the task, or of the process", SOON, || {
            if !up.is_alive() {
                return Some(());
            }
            let answer = client.try_get(&format!("/result/{task}")).filter(|a| a.status == 200)?;
            assert_eq!(answer.body["result"], before["result"], "a wrong answer");
            Some(())
        });
    }
    (home, up)
}

fn truncate(path: &Path, len: u64) {
    File::options().write(true).open(path).and_then(|file| file.set_len(len)).expect("truncated");
}

#[test]
fn truncated_or_overwritten_model_file_ends_the_process_with_a_reason() {
    let halve = |path: &Path| truncate(path, fs::metadata(path).expect("it is there").len() / 2);
    let empty = |path: &Path| truncate(path, 0);
    let overwrite = |path: &Path| {
        let len = fs::metadata(path).expect("it is there").len();
        fs::write(path, vec![0x33; usize::try_from(len).expect("a small file")]).expect("written");
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Change<'_>); 3] = [
        ("qwen3/qwen3-q8_0.gguf", &halve),
        ("qwen2.5/qwen2.5-f32.gguf", &empty),
        ("qwen3/qwen3-q4_0.gguf", &overwrite),
    ];
    for (name, change) in cases {
        let (home, mut up) = serve_and_change_file(name, change);
        let status = up.wait(SOON);
        let said = up.output();
        assert_eq!(status.code(), Some(4), "{name}: {status}\n{said}");
        assert!(said.contains("model.gguf") && said.contains("changed while"), "{name}: {said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
        let log = home.read("logs/app.log");
        assert!(log.contains("changed while"), "{name}: {log}");
    }
}

#[test]
fn model_file_replaced_by_rename_stays_in_use() {
    let (_home, mut up) = serve_and_change_file("qwen3/qwen3-q8_0.gguf", |path| {
        let other = path.with_extension("new");
        fs::copy(fixture("qwen2.5/qwen2.5-f32.gguf"), &other).expect("a copy");
        fs::rename(&other, path).expect("renamed");
    });
    assert!(up.is_alive(), "{}", up.output());
}

#[test]
fn pasted_hub_names_and_urls_are_accepted() {
    let model = fs::read(fixture("qwen3/qwen3-q8_0.gguf")).expect("the fixture");
    let hub = Hub::start(vec![
        ("tiny-Q8_0.gguf".to_owned(), model.clone()),
        ("tiny-Q4_K_M.gguf".to_owned(), model.clone()),
    ]);
    let endpoint = format!("http://{}", hub.address());
    for (pasted, id) in [
        ("hf.co/acme/tiny-GGUF:Q8_0", "acme/tiny-GGUF:Q8_0"),
        ("https://huggingface.co/acme/tiny-GGUF", "acme/tiny-GGUF"),
        (
            "https://huggingface.co/acme/tiny-GGUF/blob/main/tiny-Q8_0.gguf",
            "acme/tiny-GGUF:tiny-Q8_0.gguf",
        ),
        ("acme/tiny-GGUF@v1.0:Q8_0", "acme/tiny-GGUF@v1.0:Q8_0"),
    ] {
        let home = Home::new();
        let settings = [("MODEL_NAME", pasted), ("HF_ENDPOINT", endpoint.as_str())];
        let (_up, client) = up(&home, &settings);
        assert_eq!(ask(&client)["status"], "completed", "{pasted}");
        assert_eq!(client.get("/").body["model"], id, "{pasted}");
    }
    let revisions = hub.seen().iter().filter(|head| head.contains("/revision/v1.0")).count();
    assert!(revisions > 0, "the revision was not asked for");
}

#[test]
fn home_path_in_dotenv_and_folder_with_one_model_are_accepted() {
    let home = Home::new();
    fs::copy(fixture("qwen3/qwen3-q8_0.gguf"), home.path().join("x.gguf")).expect("a copy");
    fs::write(home.path().join(".env"), "MODEL_NAME=~/x.gguf\n").expect("written");
    let (_up, client) = up(&home, &[]);
    assert_eq!(ask(&client)["status"], "completed");
    assert_eq!(client.get("/").body["model"], "x");

    let home = Home::new();
    let folder = home.path().join("one-model");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(fixture("qwen3/qwen3-q8_0.gguf"), folder.join("y.gguf")).expect("a copy");
    fs::write(folder.join("mmproj-y.gguf"), "GGUF").expect("written");
    fs::write(folder.join("README.md"), "x").expect("written");
    fs::write(folder.join("config.json"), "{}").expect("written");
    let (_up, client) = up(&home, &[("MODEL_NAME", folder.to_str().expect("UTF-8"))]);
    assert_eq!(ask(&client)["status"], "completed");
    assert_eq!(client.get("/").body["model"], "one-model");
}

#[test]
fn hf_hub_cache_takes_precedence_over_hf_home() {
    let hub = Hub::start(vec![(
        "tiny-Q8_0.gguf".to_owned(),
        fs::read(fixture("qwen3/qwen3-q8_0.gguf")).expect("the fixture"),
    )]);
    let endpoint = format!("http://{}", hub.address());
    for (in_dotenv, with_home) in [(false, true), (true, true), (true, false)] {
        let home = Home::new();
        let cache = home.path().join("the-cache");
        let cache_text = cache.to_str().expect("UTF-8").to_owned();
        let elsewhere = home.path().join("elsewhere");
        let mut settings = vec![("MODEL_NAME", "acme/tiny:Q8_0"), ("HF_ENDPOINT", &*endpoint)];
        if in_dotenv {
            fs::write(home.path().join(".env"), format!("HF_HUB_CACHE={cache_text}\n"))
                .expect("written");
        } else {
            settings.push(("HF_HUB_CACHE", &cache_text));
        }
        if with_home {
            settings.push(("HF_HOME", elsewhere.to_str().expect("UTF-8")));
        }
        let (_up, client) = up(&home, &settings);
        assert_eq!(ask(&client)["status"], "completed");
        assert!(cache.join("models--acme--tiny").is_dir(), "{in_dotenv} {with_home}");
        assert!(!elsewhere.join("hub").exists(), "HF_HUB_CACHE goes before HF_HOME");
    }
}

/// A folder with a model whose makers recommend this.
fn recommending(home: &Home, generation: &Value) -> String {
    let folder = home.path().join("recommending");
    fs::create_dir(&folder).expect("a folder");
    for entry in fs::read_dir(fixture("qwen3/hf")).expect("the fixture").flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
    }
    fs::write(folder.join("generation_config.json"), generation.to_string()).expect("written");
    folder.to_str().expect("UTF-8").to_owned()
}

#[test]
fn recommended_sampling_defaults_are_used_and_reported() {
    let home = Home::new();
    // With a top_k of 1 the most probable token is drawn, whatever the temperature.
    let model = recommending(&home, &json!({"temperature": 1.5, "top_k": 1}));
    let (_up, client) = up(&home, &[("MODEL_NAME", &model)]);
    let result = |more: Value| {
        let mut body = json!({"prompt": "the lease ends", "max_tokens": 12});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("too").clone());
        client.wait_for_result(&client.submit(&body), SOON).body
    };
    let greedy = result(json!({"temperature": 0}));
    assert_eq!(greedy["sampling_defaults"], json!({"top_k": 1}), "{greedy}");
    let silent = result(json!({}));
    assert_eq!(silent["result"], greedy["result"]);
    assert_eq!(silent["sampling_defaults"], json!({"temperature": 1.5, "top_k": 1}), "{silent}");
    // Each field of the request goes before the model's.
    let said = result(json!({"temperature": 2, "top_k": -1, "seed": 5}));
    assert_eq!(said.get("sampling_defaults"), None, "{said}");
    assert_ne!(said["result"], greedy["result"]);
    let other = result(json!({"top_k": 0, "seed": -1}));
    assert_eq!(other["sampling_defaults"], json!({"temperature": 1.5}), "{other}");

    // A model that recommends nothing: as it ever was.
    let home = Home::new();
    let model = recommending(&home, &json!({"eos_token_id": 505}));
    let (_up, client) = up(&home, &[("MODEL_NAME", &model)]);
    assert_eq!(ask(&client).get("sampling_defaults"), None);
}
