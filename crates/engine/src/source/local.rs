//! Models that are already on this machine.

use std::fs::{self, File};
use std::path::Path;

use super::choose::Choice;
use super::{SourceError, choose};
use crate::ModelFile;
use crate::Quantization;
use crate::safetensors::{CONFIG, INDEX, SINGLE_FILE, TOKENIZER_FILES, files_of_index};

/// Returns the model at a path: a readable GGUF file, a folder with safetensors, or a folder with one GGUF file.
pub(super) fn check(path: &Path, quantization: Quantization) -> Result<ModelFile, SourceError> {
    let problem = |problem: String| SourceError::File { path: path.to_owned(), problem };
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem(
            "there is no such file. A model is named by the path of a .gguf file or of a folder with \
             safetensors or one .gguf file, by a repository (owner/name, owner/name:quant or the address of its \
             page), or is \"demo\""
                .to_owned(),
        ),
        _ => problem(error.to_string()),
    })?;
    if metadata.is_dir() {
        return folder(path, quantization);
    }
    if !metadata.is_file() {
        return Err(problem("it is no regular file".to_owned()));
    }
    if !path.to_str().is_some_and(choose::is_gguf) {
        return Err(problem(
            "its name does not end in .gguf; name a GGUF file, or the folder that safetensors are in"
                .into(),
        ));
    }
    File::open(path).map_err(|error| problem(format!("it cannot be read: {error}")))?;
    Ok(ModelFile::Path(path.to_owned()))
}

/// Returns the model in a folder. Safetensors have precedence over GGUF files, and those over a config alone.
fn folder(path: &Path, quantization: Quantization) -> Result<ModelFile, SourceError> {
    let problem = |problem: String| SourceError::File { path: path.to_owned(), problem };
    let has = |name: &str| path.join(name).exists();
    let safetensors = || ModelFile::Safetensors { folder: path.to_owned(), quantization };
    if has(SINGLE_FILE) || has(INDEX) {
        return Ok(safetensors());
    }
    let entries = fs::read_dir(path).map_err(|error| problem(error.to_string()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let ggufs = || names.iter().map(String::as_str);
    match choose::choose(ggufs(), None) {
        Choice::File(_) | Choice::Split { .. } if choose::count(ggufs()) > 1 => {}
        Choice::File(file) | Choice::Split { file, .. } => {
            return Ok(ModelFile::Path(path.join(file)));
        }
        Choice::Nothing if has(CONFIG) => return Ok(safetensors()),
        Choice::Nothing => {
            return Err(problem(format!(
                "it is a folder without a model; name a .gguf file in it, or a folder with {CONFIG}, \
                 tokenizer.json and {SINGLE_FILE}"
            )));
        }
        Choice::Unknown { .. } | Choice::Several { .. } => {}
    }
    let mut files: Vec<&str> = ggufs().filter(|name| choose::is_gguf(name)).collect();
    files.sort_unstable();
    Err(problem(format!(
        "it is a folder with several models; name one of them: {}",
        files.join(", ")
    )))
}

/// Returns whether a folder has all files of a safetensors model.
pub(super) fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let beside = TOKENIZER_FILES.iter().all(|(name, needed)| !needed || has(name));
    let weights = || {
        let files = |text: String| files_of_index(&text).ok();
        let index = fs::read_to_string(folder.join(INDEX)).ok().and_then(files);
        has(SINGLE_FILE) || index.is_some_and(|files| files.iter().all(|file| has(file)))
    };
    has(CONFIG) && beside && weights()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_model_paths_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let check = |path: &Path| check(path, Quantization::FourBit);
        let message = |path: &Path| check(path).unwrap_err().to_string();
        assert!(message(&folder.path().join("none.gguf")).contains("no such file"));
        assert!(message(folder.path()).contains("is a folder without a model"));
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert!(matches!(check(folder.path()), Ok(ModelFile::Safetensors { .. })));
        let text = folder.path().join("notes.txt");
        fs::write(&text, "x").unwrap();
        assert!(message(&text).contains("does not end in .gguf"));
        let model = folder.path().join("Model.GGUF");
        fs::write(&model, "x").unwrap();
        assert_eq!(check(&model).unwrap(), ModelFile::Path(model));
    }

    #[test]
    fn a_folder_with_one_gguf_file_resolves_to_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let check = || check(folder.path(), Quantization::FourBit);
        let write = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        for name in ["mmproj-a-F16.gguf", "a.imatrix.gguf", "README.md", "config.json"] {
            write(name);
        }
        write("a-Q8_0.gguf");
        assert_eq!(check().unwrap(), ModelFile::Path(folder.path().join("a-Q8_0.gguf")));
        write("a-Q4_K_M.gguf");
        let error = check().unwrap_err().to_string();
        assert!(
            error.contains("several models") && error.contains("a-Q4_K_M.gguf, a-Q8_0"),
            "{error}"
        );
        fs::remove_file(folder.path().join("a-Q8_0.gguf")).unwrap();
        fs::remove_file(folder.path().join("a-Q4_K_M.gguf")).unwrap();
        for part in 1..=3 {
            write(&format!("b-{part:05}-of-00003.gguf"));
        }
        let first = folder.path().join("b-00001-of-00003.gguf");
        assert_eq!(check().unwrap(), ModelFile::Path(first));
        write(SINGLE_FILE);
        assert!(matches!(check(), Ok(ModelFile::Safetensors { .. })));
    }
}
