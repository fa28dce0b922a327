//! Names as people paste them, revisions, split files, and what comes nearest.

use std::fs;

use engine::source::{SourceError, resolve, resolve_adapter};
use engine::{ModelFile, Quantization};

use super::server::{COMMIT, Hub};
use super::{Q4, REPO, Setup, bytes, hub, nobody, setup};

fn files(names: &[&str]) -> Hub {
    let files =
        names.iter().map(|name| ((*name).to_owned(), format!("bytes of {name}").into_bytes()));
    Hub { repo: REPO, files: files.collect(), ..Hub::default() }
}

impl Setup {
    /// The name of the file that a name leads to.
    fn found(&self, name: &str) -> String {
        let path = self.resolve(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }
}

#[test]
fn hub_page_urls_resolve_like_names() {
    for (pasted, file) in [
        ("hf.co/acme/tiny-GGUF:Q8_0", "tiny-Q8_0.gguf"),
        ("huggingface.co/acme/tiny-GGUF", Q4),
        ("https://huggingface.co/acme/tiny-GGUF", Q4),
        ("https://huggingface.co/acme/tiny-GGUF/", Q4),
        ("https://huggingface.co/acme/tiny-GGUF/tree/main", Q4),
        ("https://huggingface.co/acme/tiny-GGUF:8bit", "tiny-Q8_0.gguf"),
        ("https://huggingface.co/acme/tiny-GGUF/blob/main/tiny-Q8_0.gguf", "tiny-Q8_0.gguf"),
        (
            "https://huggingface.co/acme/tiny-GGUF/resolve/main/tiny-Q8_0.gguf?download=true",
            "tiny-Q8_0.gguf",
        ),
        ("https://hf.co/acme/tiny-GGUF?show_file_info=tiny-Q8_0.gguf", "tiny-Q8_0.gguf"),
        ("hf://acme/tiny-GGUF", Q4),
    ] {
        assert_eq!(setup(hub()).found(pasted), file, "{pasted}");
    }
    // The page of a mirror that is the endpoint.
    let setup = setup(hub());
    assert_eq!(setup.found(&format!("{}/acme/tiny-GGUF", setup.options.endpoint)), Q4);
    for address in [
        "https://example.com/acme/tiny-GGUF",
        "https://huggingface.co/acme",
        "https://huggingface.co/acme/tiny-GGUF/discussions/3",
        "ftp://huggingface.co/acme/tiny-GGUF",
    ] {
        let error = resolve(address, &setup.options).unwrap_err().to_string();
        assert!(error.contains(address), "{error}");
        assert!(error.contains("owner/name"), "{error}");
    }
}

#[test]
fn revisions_are_requested_and_cached_separately() {
    for (name, tag) in [
        ("acme/tiny-GGUF@v1.0:Q8_0", "v1.0"),
        ("acme/tiny-GGUF:Q8_0@v1.0", "v1.0"),
        ("acme/tiny-GGUF@refs/pr/7:Q8_0", "refs%2Fpr%2F7"),
        ("https://huggingface.co/acme/tiny-GGUF/blob/v1.0/tiny-Q8_0.gguf", "v1.0"),
    ] {
        let mut setup = setup(Hub { tag, ..hub() });
        let path = setup.resolve(name).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"eight");
        let seen = setup.server.seen();
        let asks = |part: &str| seen.iter().any(|seen| seen.path.contains(part));
        assert!(asks(&format!("/revision/{tag}")) && asks(&format!("/resolve/{tag}/")), "{seen:?}");
        assert!(!asks("/main"), "{seen:?}");
        // From the cache the second time; of another revision nothing is known there.
        setup.options.endpoint = nobody();
        assert_eq!(setup.resolve(name).unwrap(), path);
        let error = setup.resolve("acme/tiny-GGUF@v2:Q8_0").unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("/acme/tiny-GGUF/tree/v2"), "{error}");
        assert_eq!(setup.resolve(&format!("acme/tiny-GGUF@{COMMIT}:Q8_0")).unwrap(), path);
    }
    let error = setup(hub()).error("acme/tiny-GGUF@nothing");
    assert!(error.contains("there is no model acme/tiny-GGUF"), "{error}");
}

#[test]
fn the_nearest_quantization_is_downloaded() {
    let unsloth = ["t-UD-Q4_K_XL.gguf", "t-Q8_0.gguf", "t-BF16.gguf", "t-IQ4_XS.gguf"];
    for (quantization, file) in [
        (None, "t-UD-Q4_K_XL.gguf"),
        (Some(Quantization::FourBit), "t-UD-Q4_K_XL.gguf"),
        (Some(Quantization::EightBit), "t-Q8_0.gguf"),
        (Some(Quantization::None), "t-BF16.gguf"),
    ] {
        let mut setup = setup(files(&unsloth));
        setup.options.quantization = quantization;
        assert_eq!(setup.found(REPO), file, "{quantization:?}");
        // Offline too, from what is there.
        setup.options.endpoint = nobody();
        assert_eq!(setup.found(REPO), file, "{quantization:?}");
    }
    let setup = setup(files(&["t-Q8_0.gguf", "t-BF16.gguf"]));
    assert_eq!(setup.found("acme/tiny-GGUF:4bit"), "t-Q8_0.gguf");
    assert_eq!(setup.found("acme/tiny-GGUF:none"), "t-BF16.gguf");
}

#[test]
fn all_parts_of_a_split_file_are_downloaded() {
    let parts = [1, 2, 3].map(|part| format!("BF16/t-BF16-{part:05}-of-00003.gguf"));
    let names: Vec<&str> = parts.iter().map(String::as_str).chain(["t-Q4_K_M.gguf"]).collect();
    let mut setup = setup(files(&names));
    let path = setup.resolve("acme/tiny-GGUF:BF16").unwrap();
    let folder = setup.repo_folder().join("snapshots").join(COMMIT);
    assert_eq!(path, folder.join(&parts[0]));
    for part in &parts {
        assert_eq!(fs::read(folder.join(part)).unwrap(), format!("bytes of {part}").into_bytes());
    }
    assert!(!folder.join("t-Q4_K_M.gguf").exists());
    let seen = setup.server.seen().len();
    assert_eq!(setup.resolve("acme/tiny-GGUF:bf16").unwrap(), path);
    assert_eq!(setup.server.seen().len(), seen, "the cache has all of it");
    fs::remove_file(folder.join(&parts[2])).unwrap();
    setup.resolve("acme/tiny-GGUF:BF16").unwrap();
    assert!(folder.join(&parts[2]).exists(), "a part that is missing comes again");
    setup.options.endpoint = nobody();
    assert_eq!(setup.resolve("acme/tiny-GGUF:BF16").unwrap(), path);
}

/// Fifteen gigabytes are not fetched for a model that no one here can compute.
#[test]
fn unsupported_configs_are_refused_before_weights_are_downloaded() {
    for (config, part) in [
        (r#"{"model_type": "qwen3", "quantization_config": {"quant_method": "awq"}}"#, "by AWQ"),
        (r#"{"model_type": "qwen2", "quantization_config": {"quant_method": "gptq"}}"#, "by GPTQ"),
        (r#"{"model_type": "qwen3", "quantization": {"group_size": 64, "bits": 4}}"#, "MLX"),
        (
            r#"{"model_type": "qwen2", "architectures": ["Qwen2ForRewardModel"]}"#,
            "classifier or reward model",
        ),
        (r#"{"model_type": "llama"}"#, "\"llama\""),
    ] {
        let mut hub = files(&["model.safetensors", "tokenizer.json"]);
        hub.files.insert("config.json".to_owned(), config.as_bytes().to_vec());
        let setup = setup(hub);
        let error = setup.error(REPO);
        assert!(error.contains(REPO) && error.contains(part), "{error}");
        let asked = setup.server.seen().iter().any(|seen| seen.path.contains("model.safetensors"));
        assert!(!asked, "the weights were asked for");
    }
}

#[test]
fn tilde_paths_and_folders_with_one_file_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(hub());
    let file = folder.path().join("x-Q8_0.gguf");
    fs::write(&file, bytes()).unwrap();
    let found = resolve(folder.path().to_str().unwrap(), &setup.options).unwrap();
    assert_eq!(found, ModelFile::Path(file));
    // What is not there is told where it was looked for.
    let error = resolve("~/no-such-model.gguf", &setup.options).unwrap_err().to_string();
    let home = std::env::home_dir().unwrap();
    assert!(error.contains(home.join("no-such-model.gguf").to_str().unwrap()), "{error}");
    let error = resolve_adapter("~/no-such-adapter", &setup.options).unwrap_err().to_string();
    assert!(error.contains(home.join("no-such-adapter").to_str().unwrap()), "{error}");
}
