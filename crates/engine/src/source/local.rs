//! A model that is already on this machine.

use std::fs::{self, File};
use std::path::Path;

use super::{SourceError, choose};
use crate::ModelFile;
use crate::Quantization;
use crate::safetensors::{CONFIG, INDEX, SINGLE, TOKENIZER_FILES, files_of_index};

/// The model at a path: a readable GGUF file, or a folder with safetensors.
pub(super) fn check(path: &Path, quantization: Quantization) -> Result<ModelFile, SourceError> {
    let problem = |problem: String| SourceError::File { path: path.to_owned(), problem };
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem(
            "there is no such file. A model is named by the path of a .gguf file or of a folder with \
             safetensors, by a repository (owner/name or owner/name:quant), or is \"demo\""
                .to_owned(),
        ),
        _ => problem(error.to_string()),
    })?;
    if metadata.is_dir() {
        let folder = path.to_owned();
        return match [CONFIG, SINGLE, INDEX].iter().any(|name| path.join(name).exists()) {
            true => Ok(ModelFile::Safetensors { folder, quantization }),
            false => Err(problem(format!(
                "it is a folder without a model; name a .gguf file in it, or a folder with {CONFIG}, \
                 tokenizer.json and {SINGLE}"
            ))),
        };
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

/// Whether a folder has all files of a model in safetensors.
pub(super) fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let beside = TOKENIZER_FILES.iter().all(|(name, needed)| !needed || has(name));
    let weights = || {
        let files = |text: String| files_of_index(&text).ok();
        let index = fs::read_to_string(folder.join(INDEX)).ok().and_then(files);
        has(SINGLE) || index.is_some_and(|files| files.iter().all(|file| has(file)))
    };
    has(CONFIG) && beside && weights()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_path() {
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
}
