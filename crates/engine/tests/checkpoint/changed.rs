//! Model files that somebody writes to while they are served.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Engine, EngineOptions, Input, ModelFile, Progress, Quantization, Request};
use tempfile::TempDir;

use crate::common::fixtures;
use crate::edit::answer;
use crate::folder::{Folder, WEIGHTS};

/// A served copy of a model, and the file with its weights.
struct Served {
    _folder: TempDir,
    weights: PathBuf,
    engine: Engine,
}

fn gguf(fixture: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.gguf");
    fs::copy(fixtures().join(fixture), &weights).unwrap();
    let engine = Engine::start(&ModelFile::Path(weights.clone()), &EngineOptions::default());
    Served { _folder: folder, weights, engine: engine.unwrap() }
}

fn input() -> Input {
    Input::Text("the lease ends".to_owned())
}

/// What becomes of a request that is made after the change: its text, or that the engine has stopped.
fn after(served: &Served, change: impl FnOnce(&Path)) -> Result<String, String> {
    let before = answer(&served.engine, input());
    assert!(!before.is_empty());
    // The clock of a file system ticks every few milliseconds.
    std::thread::sleep(Duration::from_millis(30));
    change(&served.weights);
    let Ok(mut generation) = served.engine.submit(&Request::greedy(input(), 12)) else {
        return Err("refused".to_owned());
    };
    let mut text = String::new();
    loop {
        match generation.next_blocking() {
            Some(Progress::Text { text: more, .. }) => text.push_str(&more),
            Some(Progress::Finished(_)) => {
                assert_eq!(text, before, "a wrong answer");
                return Ok(text);
            }
            Some(Progress::Failed(error)) => return Err(error.to_string()),
            None => return Err("ended".to_owned()),
        }
    }
}

fn truncate(path: &Path, to: u64) {
    File::options().write(true).open(path).unwrap().set_len(to).unwrap();
}

#[test]
fn truncating_a_served_file_stops_the_engine_not_the_process() {
    let of_len =
        |share: u64| move |path: &Path| truncate(path, fs::metadata(path).unwrap().len() / share);
    for fixture in
        ["qwen3/qwen3-q8_0.gguf", "qwen2.5/qwen2.5-f32.gguf", "qwen3moe/qwen3moe-q8_0.gguf"]
    {
        for share in [2, 100] {
            let served = gguf(fixture);
            let outcome = after(&served, of_len(share));
            assert!(outcome.is_err(), "{fixture}: {outcome:?}");
            assert!(!served.engine.is_running());
            let why = served.engine.changed_model().unwrap();
            assert!(why.contains("model.gguf") && why.contains("bytes, now it has"), "{why}");
        }
    }
}

#[test]
fn overwriting_a_served_file_stops_the_engine() {
    let served = gguf("qwen3/qwen3-q8_0.gguf");
    let outcome = after(&served, |path| {
        // The rows of all tokens, in a file of the same size.
        let len = fs::metadata(path).unwrap().len() as usize;
        let mut file = File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&vec![0x33; len]).unwrap();
    });
    assert!(outcome.is_err(), "{outcome:?}");
    let why = served.engine.changed_model().unwrap();
    assert!(why.contains("written to"), "{why}");
}

#[test]
fn truncating_a_served_safetensors_shard_stops_the_engine() {
    let folder = Folder::copy(&fixtures().join("qwen3/hf"));
    let model = ModelFile::Safetensors {
        folder: folder.path().to_owned(),
        quantization: Quantization::EightBit,
    };
    let engine = Engine::start(&model, &EngineOptions::default()).unwrap();
    let weights = folder.path().join(WEIGHTS);
    let served = Served { _folder: tempfile::tempdir().unwrap(), weights, engine };
    let outcome = after(&served, |path| truncate(path, 1000));
    assert!(outcome.is_err(), "{outcome:?}");
    let why = served.engine.changed_model().unwrap();
    assert!(why.contains(WEIGHTS) && why.contains("bytes, now it has 1000"), "{why}");
}

#[test]
fn replacing_or_deleting_a_served_file_does_not_affect_answers() {
    let served = gguf("qwen3/qwen3-q8_0.gguf");
    let outcome = after(&served, |path| {
        let other = path.with_extension("new");
        fs::copy(fixtures().join("qwen2.5/qwen2.5-f32.gguf"), &other).unwrap();
        fs::rename(&other, path).unwrap();
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    let served = gguf("qwen3/qwen3-q4_0.gguf");
    assert!(after(&served, |path| fs::remove_file(path).unwrap()).is_ok());
}
