//! Finds a command in the operator's folder.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Returns the program with this name, which must be in the folder itself, whatever links lead to it.
///
/// # Errors
/// Says why there is none.
pub(super) fn find(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if !(1..=64).contains(&name.len()) || !name.chars().all(is_allowed) {
        return Err("its name is not 1 to 64 small letters, digits, '-' and '_'".to_owned());
    }
    let missing = |_| "there is no such command".to_owned();
    let folder = folder.canonicalize().map_err(missing)?;
    let program = folder.join(name).canonicalize().map_err(missing)?;
    if program.parent() != Some(&folder) {
        return Err("it is outside of the folder of commands".to_owned());
    }
    let is_program = program
        .metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    is_program.then_some(program).ok_or_else(|| "it is no program".to_owned())
}
