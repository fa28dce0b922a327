//! Hashes of the contents of models' files.
#![allow(clippy::unwrap_used)] // in helpers too: a failure here is a failed test

use std::fs;

use engine::content::{ContentFiles, ContentHashes};
use engine::{AdapterSource, EngineOptions, ModelFile};

fn hashes(model: &ModelFile, options: &EngineOptions) -> ContentHashes {
    ContentFiles::of(model, options).unwrap().hash().unwrap()
}

#[test]
fn the_content_of_every_file_counts_and_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let plain = EngineOptions::default();
    let single = |name: &str, text: &str| hashes(&ModelFile::Path(write(name, text)), &plain);
    assert_eq!(single("1/a.gguf", "x"), single("2/b.gguf", "x"), "the same under another name");
    assert_ne!(single("3/a.gguf", "x"), single("4/a.gguf", "y"));
    // Every part of a split file.
    let first = write("5/m-00001-of-00002.gguf", "x");
    write("5/m-00002-of-00002.gguf", "y");
    write("5/other-00002-of-00002.gguf", "z");
    let split = hashes(&ModelFile::Path(first.clone()), &plain);
    write("5/other-00002-of-00002.gguf", "zz");
    assert_eq!(split, hashes(&ModelFile::Path(first.clone()), &plain));
    write("5/m-00002-of-00002.gguf", "yy");
    assert_ne!(split, hashes(&ModelFile::Path(first), &plain));
    // The projector beside a file, and one that is named.
    let seeing = single("6/a.gguf", "x");
    write("6/mmproj-F16.gguf", "p");
    assert_ne!(seeing, single("6/a.gguf", "x"));
    let named = EngineOptions { projector: Some(write("7/p.gguf", "q")), ..plain.clone() };
    assert_ne!(hashes(&ModelFile::Path(write("8/a.gguf", "x")), &named), seeing);
    // A folder of safetensors.
    write("9/model.safetensors", "x");
    let config = write("9/config.json", "{}");
    let quantization = engine::Quantization::FourBit;
    let model = ModelFile::Safetensors { folder: folder.path().join("9"), quantization };
    let before = hashes(&model, &plain);
    write("9/README.md", "any");
    assert_eq!(before, hashes(&model, &plain));
    fs::write(config, "{ }").unwrap();
    assert_ne!(before, hashes(&model, &plain));
    // Adapters have hashes of their own.
    let source = AdapterSource {
        name: "one".into(),
        folder: write("10/a.json", "{}").parent().unwrap().into(),
    };
    let adapted = EngineOptions { adapters: vec![source], ..plain.clone() };
    let with = hashes(&model, &adapted);
    assert_eq!(with.base, hashes(&model, &plain).base);
    write("10/a.json", "[]");
    assert_ne!(with.adapters["one"], hashes(&model, &adapted).adapters["one"]);
}

#[test]
fn a_file_that_changed_since_it_was_noted_has_no_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    fs::write(&path, "x").unwrap();
    let files =
        ContentFiles::of(&ModelFile::Path(path.clone()), &EngineOptions::default()).unwrap();
    assert!(files.hash().is_ok());
    fs::write(&path, "longer").unwrap();
    let error = files.hash().unwrap_err().to_string();
    assert!(error.contains("was changed after it was loaded"), "{error}");
}

#[test]
fn a_file_of_the_hubs_cache_is_known_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (folder.path().join("blobs"), folder.path().join("snapshots/1"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    let link = |name: &str, hash: &str, text: &str| {
        fs::write(blobs.join(hash), text).unwrap();
        let path = snapshot.join(name);
        std::os::unix::fs::symlink(blobs.join(hash), &path).unwrap();
        hashes(&ModelFile::Path(path), &EngineOptions::default())
    };
    let (one, two) = ("ab".repeat(32), "cd".repeat(32));
    assert_ne!(link("a.gguf", &one, "x"), link("b.gguf", &two, "x"), "by name, not read");
    assert_eq!(link("c.gguf", &"e".repeat(40), "x"), link("d.gguf", &"f".repeat(40), "x"));
}
