//! The workspace's crates: what docs/ARCHITECTURE.md promises of their dependencies, and what Cargo.toml has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The names of the crates, which are their folders'.
pub(crate) fn names(workspace: &Path) -> BTreeSet<String> {
    let folders = fs::read_dir(workspace.join("crates")).expect("the folder of crates");
    folders
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect()
}

/// The table of crates in docs/ARCHITECTURE.md: of each crate, which others it depends on.
pub(crate) fn promised(workspace: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(workspace.join("docs/ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text.lines().filter(|line| line.starts_with("| [`"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].split('`').nth(1).expect("a crate's name in backquotes").to_owned();
        let used = cells[3].split(',').map(str::trim).filter(|name| *name != "–");
        (name, used.map(str::to_owned).collect())
    })
    .collect()
}

/// The workspace's crates that a crate depends on, tests and examples aside.
pub(crate) fn dependencies(workspace: &Path, name: &str) -> BTreeSet<String> {
    let file = workspace.join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut section = "";
    let mut used = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" {
            let ours = ["qwen-queue-", "package = \"qwen-queue-"];
            let named =
                ours.iter().find_map(|prefix| line.split_once(prefix)).map(|(_, rest)| rest);
            let end = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
            used.extend(named.and_then(|rest| rest.split(end).next()).map(str::to_owned));
        }
    }
    used
}

/// The file at the root of a crate's module tree.
pub(crate) fn root_file(workspace: &Path, name: &str) -> PathBuf {
    let sources = workspace.join("crates").join(name).join("src");
    let library = sources.join("lib.rs");
    if library.exists() { library } else { sources.join("main.rs") }
}
