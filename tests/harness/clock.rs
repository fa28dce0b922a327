//! A clock that a test moves while a process runs by it: a small library in C that is put before the system's.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

/// The offset of a clock, in whole seconds. Clones are the same clock.
#[derive(Clone)]
pub struct Clock {
    folder: Arc<TempDir>,
}

impl Clock {
    /// One that is right. Compiles the library, with the compiler that Rust links by.
    ///
    /// # Panics
    /// If that fails.
    #[allow(clippy::new_without_default)] // it does much
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("clock.c");
        fs::write(&source, include_str!("clock.c")).expect("a file");
        let clock = Self { folder: Arc::new(folder) };
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(source);
        assert!(compile.status().is_ok_and(|status| status.success()), "cc: is it installed?");
        clock.set(0);
        clock
    }

    /// Moves it to so many seconds before or after the right time.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn set(&self, offset: i64) {
        // In place: a file that is empty for a moment would take the processes that look at it down.
        let file = fs::File::options().create(true).truncate(false).write(true).open(self.offset());
        let written = file.and_then(|mut file| file.write_all(&offset.to_ne_bytes()));
        written.expect("the offset's file");
    }

    /// What a process that is to run by it must have in its environment.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let path = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        [("LD_PRELOAD", path(self.library())), ("TEST_CLOCK", path(self.offset()))]
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}
