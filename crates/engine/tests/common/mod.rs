//! Reads the fixtures in `tests/fixtures`, whose README describes the formats.
#![allow(dead_code)] // each test binary uses a part of it
#![allow(clippy::unwrap_used)] // clippy exempts only functions with `#[test]`

use std::path::{Path, PathBuf};

use engine::{Engine, EngineOptions, Finished, Generation, Input, ModelFile, Progress, Request};

/// A tiny model with the results of transformers for some prompts.
pub(crate) struct Fixture {
    folder: PathBuf,
    model: String,
    rows: Vec<Vec<f32>>,
    pub(crate) prompts: Vec<Prompt>,
}

pub(crate) struct Prompt {
    pub(crate) name: String,
    pub(crate) tokens: Vec<u32>,
    /// The first position with stored logits.
    pub(crate) first_position: usize,
    /// The row of `first_position` in the stored logits.
    first_row: usize,
    /// The greedy tokens after the prompt.
    pub(crate) greedy: Vec<u32>,
}

/// Returns the folder `tests/fixtures`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Fixture {
    /// Loads a fixture by its name, e.g. `qwen3-f32`.
    pub(crate) fn load(name: &str) -> Self {
        let (family, _) = name.split_once('-').unwrap();
        let folder = fixtures().join(family);
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let tokens = |value: &serde_json::Value| -> Vec<u32> {
            value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let logits = std::fs::read(folder.join(json["logits"].as_str().unwrap())).unwrap();
        let numbers: Vec<f32> =
            logits.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let rows: Vec<Vec<f32>> =
            numbers.chunks(number(&json["vocab_size"])).map(<[f32]>::to_vec).collect();
        assert_eq!(rows.len(), number(&json["rows"]));
        let prompts = json["prompts"].as_array().unwrap();
        let prompts = prompts.iter().map(|prompt| Prompt {
            name: prompt["name"].as_str().unwrap().to_owned(),
            tokens: tokens(&prompt["tokens"]),
            first_position: number(&prompt["first_position"]),
            first_row: number(&prompt["first_row"]),
            greedy: tokens(&prompt["greedy"]),
        });
        let model = json["model"].as_str().unwrap().to_owned();
        Self { prompts: prompts.collect(), folder, model, rows }
    }

    /// Returns the path of the model file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(&self.model)
    }

    /// Starts an engine with the model.
    pub(crate) fn start(&self, options: &EngineOptions) -> Engine {
        Engine::start(&ModelFile::Path(self.path()), options).unwrap()
    }

    /// Returns the stored logits of a prompt, from `first_position` to its end. `[positions][vocab]`
    pub(crate) fn logits(&self, prompt: &Prompt) -> Vec<Vec<f32>> {
        let len = prompt.tokens.len() - prompt.first_position;
        self.rows[prompt.first_row..prompt.first_row + len].to_vec()
    }

    /// Returns the prompt with the most tokens.
    pub(crate) fn longest(&self) -> &Prompt {
        self.prompts.iter().max_by_key(|prompt| prompt.tokens.len()).unwrap()
    }
}

/// Loads the model for tests of the whole engine.
pub(crate) fn fixture() -> Fixture {
    Fixture::load("qwen3-f32")
}

/// Starts an engine with that model.
pub(crate) fn start(options: &EngineOptions) -> Engine {
    fixture().start(options)
}

/// Returns a request for the greedy tokens after these.
pub(crate) fn greedy(tokens: &[u32], max_tokens: usize) -> Request {
    Request::greedy(Input::Tokens(tokens.to_vec()), max_tokens)
}

/// Waits for the end of an answer. Returns its text with its figures.
pub(crate) fn finished(mut generation: Generation) -> (String, Finished) {
    let mut text = String::new();
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text: part, .. } => text.push_str(&part),
            Progress::Finished(finished) => return (text, finished),
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

/// Returns the largest difference between two tables of the same shape, or NaN if a difference is NaN.
pub(crate) fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let rows = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs())
    });
    rows.fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
}
