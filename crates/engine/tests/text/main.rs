//! Compares text processing with Hugging Face and Jinja2 on `fixtures/text` (see `fixtures/README.md`). If the
//! folder of shared data is beside the repository, also tests the real Qwen vocabularies and templates.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

mod chat;
mod continuation;
mod guard;
mod images;
mod jinja;
mod malformed;
mod pipeline;
mod tokenization;
mod vocabularies;

use std::path::{Path, PathBuf};

use engine::gguf::GgufFile;
use engine::text::{TemplateValue, Tokenizer, template_value};

/// Returns the path of a file below `tests/fixtures`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Reads a JSON fixture and keeps the order of its keys.
fn json(name: &str) -> TemplateValue {
    value(&std::fs::read_to_string(fixture(name)).unwrap())
}

/// JSON as templates are given it.
fn value(json: &str) -> TemplateValue {
    template_value(&serde_json::from_str(json).unwrap())
}

/// Returns the tokenizer with the tiny vocabulary of all model fixtures.
fn tiny() -> Tokenizer {
    Tokenizer::from_gguf(&GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap()).unwrap()
}

/// Returns the path of a file of the shared data. If it is missing, prints that and returns `None`.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        println!("skipped: there is no ../shared/data/{name} beside the repository");
        return None;
    }
    Some(path)
}

fn attr(value: &TemplateValue, name: &str) -> TemplateValue {
    value.get_attr(name).unwrap()
}

fn text(value: &TemplateValue, name: &str) -> String {
    attr(value, name).as_str().unwrap_or_else(|| panic!("no text {name} in {value}")).to_owned()
}

fn items(value: &TemplateValue, name: &str) -> Vec<TemplateValue> {
    attr(value, name).try_iter().unwrap().collect()
}

fn ids(value: &TemplateValue, name: &str) -> Vec<u32> {
    items(value, name).into_iter().map(|id| u32::try_from(id).unwrap()).collect()
}

fn entries(value: &TemplateValue, name: &str) -> Vec<(String, TemplateValue)> {
    let map = attr(value, name);
    let keys = map.try_iter().unwrap();
    keys.map(|key| (key.as_str().unwrap().to_owned(), map.get_item(&key).unwrap())).collect()
}
