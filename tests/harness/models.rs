//! The small models that tests use.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{SLOW_MODEL, binary};

/// Returns the path of a committed fixture, e.g. `qwen3/qwen3-f16.gguf`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/engine/tests/fixtures").join(name)
}

/// Returns the path of a model with random weights, slow enough that tests can interrupt an answer.
/// It is made once per build folder.
///
/// # Panics
/// If it can't be made.
pub fn slow() -> PathBuf {
    let tool = binary("qwen-queue");
    let path = tool.with_file_name(SLOW_MODEL);
    if !path.exists() {
        // Tests run concurrently: each may make the file; the last rename wins.
        let part = tool.with_file_name(format!("slow-model-{}.gguf", std::process::id()));
        let made = Command::new(&tool)
            .args(["model", "synth", "--shape", "tiny", "--quant", "q8_0", "--output"])
            .arg(&part)
            .output()
            .expect("qwen-queue runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(&part, &path).expect("a rename within a folder");
    }
    path
}
