//! Files that were cut into parts.

use std::fs;
use std::path::{Path, PathBuf};

use engine::gguf::{GgufFile, Value};
use engine::{Engine, EngineOptions, Input, ModelFile};
use tempfile::TempDir;

use crate::edit::{Gguf, answer, refusal};

fn name(part: usize, parts: usize) -> String {
    format!("tiny-{part:05}-of-{parts:05}.gguf")
}

/// The fixture in so many parts, as llama-gguf-split writes them.
fn split(parts: usize) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let whole = Gguf::fixture("qwen3/qwen3-q8_0");
    let paths = (1..=parts).map(|part| {
        let path = folder.path().join(name(part, parts));
        whole.part(part - 1, parts).write(&path);
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn start(path: &Path) -> Engine {
    Engine::start(&ModelFile::Path(path.to_owned()), &EngineOptions::default()).unwrap()
}

fn refused(path: &Path) -> String {
    refusal(ModelFile::Path(path.to_owned()))
}

#[test]
fn opening_any_part_loads_the_whole_split_model() {
    let input = || Input::Text("the lease ends".to_owned());
    let expected = answer(&Gguf::fixture("qwen3/qwen3-q8_0").start().unwrap(), input());
    for parts in [2, 3, 7] {
        let (_folder, paths) = split(parts);
        for named in [0, 1, parts - 1] {
            let engine = start(&paths[named]);
            assert_eq!(answer(&engine, input()), expected, "part {named} of {parts}");
        }
    }
    // Beside a file of another model, with a name of its own.
    let (folder, paths) = split(2);
    fs::write(folder.path().join("other-00001-of-00002.gguf"), "x").unwrap();
    assert_eq!(GgufFile::open(&paths[1]).unwrap().tensors().count(), 24);
}

#[test]
fn a_split_of_one_part_loads() {
    let file = Gguf::fixture("qwen3/qwen3-q8_0")
        .with("split.no", Value::Int(0))
        .with("split.count", Value::Int(1));
    assert!(file.start().is_ok());
}

#[test]
fn mismatched_split_parts_are_refused_with_a_remedy() {
    let (_folder, paths) = split(3);
    fs::remove_file(&paths[1]).unwrap();
    for named in [0, 2] {
        let error = refused(&paths[named]);
        assert!(error.contains(&name(2, 3)) && error.contains("is missing"), "{error}");
        assert!(error.contains("into one folder") && !error.contains("damaged"), "{error}");
    }

    let (folder, paths) = split(3);
    let renamed = folder.path().join("renamed.gguf");
    fs::rename(&paths[1], &renamed).unwrap();
    let error = refused(&renamed);
    assert!(error.contains("part 2 of 3") && error.contains("llama-gguf-split"), "{error}");

    let (_folder, paths) = split(3);
    fs::copy(&paths[0], &paths[1]).unwrap();
    // The part that is wrong is named, whichever was asked for.
    let error = GgufFile::open(&paths[2]).unwrap_err().to_string();
    assert!(error.contains(&name(2, 3)), "{error}");
    assert!(error.contains("part 2 of 3 should") && error.contains("part 1 of 3"), "{error}");

    let (_folder, paths) = split(2);
    let short = Gguf::fixture("qwen3/qwen3-q8_0").part(1, 2).without_last_tensor();
    short.write(&paths[1]);
    let error = refused(&paths[0]);
    assert!(error.contains("23 tensors") && error.contains("24"), "{error}");

    let (_folder, paths) = split(2);
    let bytes = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &bytes[..bytes.len() / 2]).unwrap();
    let error = engine::Engine::start(&ModelFile::Path(paths[0].clone()), &Default::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains(&name(2, 2)) && error.contains("truncated"), "{error}");
}
