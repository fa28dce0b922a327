//! Expands paths from settings: `~/` is the home folder, and nothing else is expanded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Replaces `~` or `~/` at the start of `path` by the home folder.
///
/// # Errors
/// If the path starts with `~user` or a variable, or there is no home folder. The message says what
/// to do.
pub(super) fn expand(path: &Path) -> Result<PathBuf, String> {
    expand_from(path, std::env::home_dir().as_deref())
}

fn expand_from(path: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    let first = path.components().next().map_or(OsStr::new(""), |first| first.as_os_str());
    let first = first.to_string_lossy();
    if first == "~" {
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let home =
            home.ok_or("~ can't be expanded, because HOME is not set: write the whole path")?;
        return Ok(path.strip_prefix("~").map_or_else(|_| home.to_owned(), |rest| home.join(rest)));
    }
    if first.starts_with('~') {
        return Err(
            "~/ expands to your home folder, but another user's is not supported: write the whole \
                    path, or begin it with ./ if the name begins with ~"
                .to_owned(),
        );
    }
    let begins = |next: char| next.is_ascii_alphabetic() || next == '_' || next == '{';
    if first.strip_prefix('$').is_some_and(|rest| rest.starts_with(begins)) {
        return Err(
            "variables are not expanded: write the whole path, or ~/ for your home folder, or begin \
                    it with ./ if the name begins with $"
                .to_owned(),
        );
    }
    Ok(path.to_owned())
}

/// Like [`expand`], for text.
///
/// # Errors
/// As [`expand`].
pub(super) fn expand_text(path: &str) -> Result<String, String> {
    // The lossy conversion changes only a home folder that is not UTF-8, in which the file is then
    // not found.
    expand(Path::new(path)).map(|path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_home_folder_is_expanded() {
        let at = |path: &str| expand_from(Path::new(path), Some(Path::new("/home/ada")));
        for (path, expected) in [
            ("~", "/home/ada"),
            ("~/", "/home/ada"),
            ("~/logs/x", "/home/ada/logs/x"),
            ("/srv/~/x", "/srv/~/x"),
            ("./~/x", "./~/x"),
            ("./$x", "./$x"),
            ("a$b", "a$b"),
            ("$5", "$5"),
            ("logs~", "logs~"),
            ("owner/name:Q4_K_M", "owner/name:Q4_K_M"),
        ] {
            assert_eq!(at(path).unwrap(), Path::new(expected), "{path}");
        }
        for (path, word) in
            [("~bob/x", "another user's"), ("$HOME/x", "not expanded"), ("${X}", "not expanded")]
        {
            assert!(at(path).unwrap_err().contains(word), "{path}");
        }
        assert!(expand_from(Path::new("~/x"), None).unwrap_err().contains("HOME is not set"));
    }
}
