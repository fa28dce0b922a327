//! A model file that is already on this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{SourceError, choose};

/// The path, if there is a readable GGUF file by its name.
pub(super) fn check(path: &Path) -> Result<PathBuf, SourceError> {
    let problem = |problem: String| SourceError::File { path: path.to_owned(), problem };
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem(
            "there is no such file. A model is named by the path of a .gguf file, by a repository \
             (owner/name or owner/name:quant), or is \"demo\""
                .to_owned(),
        ),
        _ => problem(error.to_string()),
    })?;
    if metadata.is_dir() {
        return Err(problem("it is a folder; name the .gguf file in it".to_owned()));
    }
    if !metadata.is_file() {
        return Err(problem("it is no regular file".to_owned()));
    }
    if !path.to_str().is_some_and(choose::is_gguf) {
        return Err(problem(
            "its name does not end in .gguf; only GGUF files can be loaded".into(),
        ));
    }
    File::open(path).map_err(|error| problem(format!("it cannot be read: {error}")))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| check(path).unwrap_err().to_string();
        assert!(message(&folder.path().join("none.gguf")).contains("no such file"));
        assert!(message(folder.path()).contains("is a folder"));
        let text = folder.path().join("notes.txt");
        fs::write(&text, "x").unwrap();
        assert!(message(&text).contains("does not end in .gguf"));
        let model = folder.path().join("Model.GGUF");
        fs::write(&model, "x").unwrap();
        assert_eq!(check(&model).unwrap(), model);
    }
}
