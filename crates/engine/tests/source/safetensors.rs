//! Models of several files: safetensors and what belongs to them.

use std::collections::HashMap;
use std::fs;

use engine::source::{SourceError, resolve, resolve_adapter};
use engine::{ModelFile, Quantization};

use super::server::{COMMIT, Hub};
use super::{Q4, REPO, Setup, nobody, setup};

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

fn hub(files: &[&str]) -> Hub {
    let index = serde_json::json!({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}});
    let bytes = |name: &str| match name {
        INDEX => index.to_string().into_bytes(),
        name => format!("what {name} holds").into_bytes(),
    };
    let files: HashMap<_, _> = files.iter().map(|name| ((*name).to_owned(), bytes(name))).collect();
    Hub { repo: REPO, files, ..Hub::default() }
}

fn whole() -> Hub {
    let beside = ["config.json", "tokenizer.json", "tokenizer_config.json", "README.md"];
    hub(&[&["model.safetensors", "pytorch_model.bin"][..], &beside].concat())
}

fn sharded() -> Hub {
    let beside = ["config.json", "tokenizer.json", "chat_template.jinja", INDEX];
    hub(&[&SHARDS[..], &beside].concat())
}

impl Setup {
    fn model(&self, name: &str) -> (Vec<String>, Quantization) {
        match resolve(name, &self.options).unwrap() {
            ModelFile::Safetensors { folder, quantization } => {
                assert_eq!(folder, self.repo_folder().join("snapshots").join(COMMIT));
                let entries = fs::read_dir(folder).unwrap();
                let mut names: Vec<String> = entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                (names, quantization)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn all_files_of_a_model_are_downloaded_from_one_commit() {
    let setup = setup(whole());
    let (names, quantization) = setup.model(REPO);
    let expected = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(names, expected, "what a model needs, and nothing else");
    assert_eq!(quantization, Quantization::FourBit);
    let files = setup.server.seen();
    let of_commit = format!("/resolve/{COMMIT}/");
    assert!(
        files.iter().all(|seen| !seen.path.contains("/resolve/") || seen.path.contains(&of_commit))
    );
}

#[test]
fn files_about_images_are_downloaded_too() {
    let mut repo = whole();
    let about_images = ["preprocessor_config.json", "chat_template.json"];
    for name in about_images {
        repo.files.insert(name.to_owned(), b"{}".to_vec());
    }
    let (names, _) = setup(repo).model(REPO);
    assert!(about_images.iter().all(|file| names.iter().any(|name| name == file)), "{names:?}");
}

#[test]
fn all_shards_of_a_model_are_downloaded() {
    let setup = setup(sharded());
    let (names, _) = setup.model(REPO);
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(SHARDS.iter().all(|shard| names.iter().any(|name| name == shard)));
    let folder = setup.repo_folder().join("snapshots").join(COMMIT);
    let shard = fs::read_to_string(folder.join(SHARDS[1])).unwrap();
    assert_eq!(shard, format!("what {} holds", SHARDS[1]));
}

#[test]
fn quantization_comes_from_the_name_or_the_options() {
    let mut setup = setup(whole());
    assert_eq!(setup.model("acme/tiny-GGUF:8bit").1, Quantization::EightBit);
    setup.options.quantization = Some(Quantization::None);
    assert_eq!(setup.model(REPO).1, Quantization::None);
    assert_eq!(setup.model("acme/tiny-GGUF:4BIT").1, Quantization::FourBit);
}

#[test]
fn cached_models_need_no_network_and_incomplete_ones_do() {
    let mut setup = setup(sharded());
    setup.model(REPO);
    let requests = setup.server.seen().len();
    setup.model(REPO);
    assert_eq!(setup.server.seen().len(), requests);
    let url = std::mem::replace(&mut setup.options.endpoint, nobody());
    setup.model(REPO);

    let shard = setup.repo_folder().join("snapshots").join(COMMIT).join(SHARDS[1]);
    fs::remove_file(&shard).unwrap();
    let error = resolve(REPO, &setup.options).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    setup.options.endpoint = url;
    setup.model(REPO);
    assert!(shard.exists());
}

#[test]
fn gguf_files_take_precedence_over_safetensors() {
    let mut both = whole();
    both.files.insert(Q4.to_owned(), b"four".to_vec());
    let setup = setup(both);
    for name in [REPO, "acme/tiny-GGUF:4bit"] {
        let path = setup.resolve(name).unwrap();
        assert!(path.ends_with(Q4), "{path:?}");
    }
    let error = setup.error("acme/tiny-GGUF:8bit");
    assert!(error.contains("no 8bit; it has Q4_K_M"), "{error}");
}

#[test]
fn missing_files_are_reported_before_weights_are_downloaded() {
    for (missing, part) in [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer.json"),
        ("model.safetensors.index.json", "no model.safetensors or model.safetensors.index.json"),
        (SHARDS[1], "no model-00002-of-00002.safetensors"),
    ] {
        let mut repo = sharded();
        repo.files.remove(missing);
        let setup = setup(repo);
        let error = setup.error(REPO);
        assert!(error.contains(part), "{error}");
    }
    let setup = setup(whole());
    let error = setup.error("acme/tiny-GGUF:Q4_K_M");
    assert!(error.contains("no Q4_K_M to choose") && error.contains(":8bit"), "{error}");
}

#[test]
fn shard_index_paths_outside_the_folder_are_refused() {
    let mut repo = sharded();
    let index = br#"{"weight_map": {"a": "../../../evil.safetensors"}}"#;
    repo.files.insert(INDEX.to_owned(), index.to_vec());
    let error = setup(repo).error(REPO);
    assert!(error.contains("the index names the file"), "{error}");
}

#[test]
fn adapters_are_two_files_downloaded_from_one_commit() {
    let files = ["adapter_config.json", "adapter_model.safetensors", "README.md", "optimizer.pt"];
    let setup = setup(hub(&files));
    let folder = resolve_adapter(REPO, &setup.options).unwrap();
    assert_eq!(folder, setup.repo_folder().join("snapshots").join(COMMIT));
    let names = fs::read_dir(&folder).unwrap().count();
    assert_eq!(names, 2, "what an adapter needs, and nothing else");
    // The second time nobody is asked, and its path is as good as its name.
    let seen = setup.server.seen().len();
    assert_eq!(resolve_adapter(REPO, &setup.options).unwrap(), folder);
    assert_eq!(resolve_adapter(folder.to_str().unwrap(), &setup.options).unwrap(), folder);
    assert_eq!(setup.server.seen().len(), seen);
}

#[test]
fn incomplete_and_non_adapter_sources_are_refused() {
    let whole = setup(whole());
    let error = resolve_adapter(REPO, &whole.options).unwrap_err();
    assert!(matches!(error, SourceError::IncompleteAdapter { .. }), "{error}");
    for path in ["./nowhere", "acme/tiny:Q8_0", whole.repo_folder().to_str().unwrap()] {
        let error = resolve_adapter(path, &whole.options).unwrap_err();
        assert!(matches!(error, SourceError::NoAdapter { .. }), "{path}: {error}");
    }
}
