//! `qwen-queue` as people type it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::process::{Home, KEY, binary};

/// The operators' key that all tests use.
pub const ADMIN_KEY: &str = "operators-key-0123456789";

/// A person at a gateway, with both keys.
pub struct Cli {
    url: String,
    /// Where they are: nobody's `.env` lies there.
    home: Home,
}

impl Cli {
    /// At the gateway on `port`.
    pub fn new(port: u16) -> Self {
        Self { url: format!("http://127.0.0.1:{port}"), home: Home::new() }
    }

    /// What is typed, ready to run.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.home.path())
            .env("QWEN_QUEUE_URL", &self.url)
            .env("QWEN_QUEUE_API_KEY", KEY)
            .env("ADMIN_API_KEY", ADMIN_KEY)
            .env("NO_COLOR", "1");
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn run(&self, args: &[&str]) -> Output {
        let program = binary("qwen-queue");
        let program = program.to_str().expect("UTF-8");
        self.command(program, args).output().expect("qwen-queue runs")
    }

    /// What it prints, trimmed.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What it prints, as JSON.
    ///
    /// # Panics
    /// When it does not end well, or prints something else.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.stdout(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// What it says when it does not do as asked.
    ///
    /// # Panics
    /// When it does.
    pub fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }
}
