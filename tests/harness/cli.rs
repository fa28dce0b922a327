//! Runs `qwen-queue` commands as a user types them.

use std::process::{Command, Output};

use serde_json::Value;

use crate::process::{Home, KEY, binary};

/// The operators' key of all tests.
pub const ADMIN_KEY: &str = "operators-key-0123456789";

/// Runs commands against one gateway, with both keys in the environment.
pub struct Cli {
    url: String,
    /// The working directory, which has no `.env`.
    home: Home,
}

impl Cli {
    /// Uses the gateway on `port`.
    pub fn new(port: u16) -> Self {
        Self { url: format!("http://127.0.0.1:{port}"), home: Home::new() }
    }

    /// Builds a command.
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

    /// Runs `qwen-queue` with `args` to its end.
    ///
    /// # Panics
    /// If it can't be run.
    pub fn run(&self, args: &[&str]) -> Output {
        let program = binary("qwen-queue");
        let program = program.to_str().expect("UTF-8");
        self.command(program, args).output().expect("qwen-queue runs")
    }

    /// Runs it and returns its standard output, trimmed.
    ///
    /// # Panics
    /// If it fails.
    pub fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs it and returns its standard output as JSON.
    ///
    /// # Panics
    /// If it fails or does not print JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.stdout(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Runs a command that must fail with exit code 1 and returns its error message.
    ///
    /// # Panics
    /// If it succeeds.
    pub fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }
}
