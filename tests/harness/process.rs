//! Processes of qwen-queue's binaries.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait_for;

/// The API key of all tests.
pub const KEY: &str = "test-key-0123456789";

/// The operators' key, for tests that use one.
pub const ADMIN_KEY: &str = "test-operator-0123456789";

/// The name of the slow model's file (`models::slow`).
pub const SLOW_MODEL: &str = "slow-model.gguf";

/// Returns the setting that keeps the slow model slow, if a process uses it: its answers repeat themselves, so that
/// speculation would make them several times as fast.
pub fn pace(settings: &[(&str, &str)]) -> Option<(&'static str, &'static str)> {
    settings.iter().any(|(_, value)| value.contains(SLOW_MODEL)).then_some(("SPECULATION", "off"))
}

/// Returns the path of a binary of this workspace, in the build folder of the running test.
///
/// # Panics
/// If it was not built: run `scripts/test`.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("no path of the test's executable");
    let path = test.parent().and_then(Path::parent).expect("target/<profile>/deps").join(name);
    assert!(path.exists(), "{} is missing: run scripts/test, which builds it", path.display());
    path
}

/// A folder for one process: its logs, data and output. Dropping it deletes the folder.
pub struct Home(TempDir);

impl Home {
    /// Creates a temporary folder.
    #[allow(clippy::new_without_default, clippy::missing_panics_doc)]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the text of a file in it; empty if there is no such file.
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap_or_default()
    }
}

/// A running process. Dropping it kills it.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Process {
    /// Starts a binary with `args` in `home`, with these settings and no others.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(home: &Home, name: &str, args: &[&str], settings: &[(&str, &str)]) -> Self {
        let output = home.path().join("output.txt");
        let open = || File::options().create(true).append(true).open(&output).expect("its output");
        let child = Command::new(binary(name))
            .args(args)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("RUST_BACKTRACE", "1")
            .env("HOST", "127.0.0.1")
            .envs(pace(settings))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { child, name: name.to_owned(), output }
    }

    /// Returns all that it wrote to standard output and standard error.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, e.g. `KILL`, `TERM`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success(), "{} ({pid}) has ended; it printed:\n{}", self.name, self.output());
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn kill_9(mut self) {
        self.signal("KILL");
        self.child.wait().expect("cannot wait for a child");
    }

    /// Waits until it ends and returns its exit status.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, limit, || self.child.try_wait().expect("cannot wait for a child"))
    }

    /// Returns its processor time so far.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("the process has ended");
        // The name ends with the last parenthesis; utime and stime are fields 14 and 15 of the
        // line, in ticks, of which Linux has 100 per second.
        let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If the system does not allow waiting for it.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("cannot wait for a child").is_none()
    }
}

#[allow(clippy::print_stderr)] // helps to understand a failed test
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.output());
        }
    }
}
