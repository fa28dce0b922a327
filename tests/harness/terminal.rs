//! Runs programs in a terminal, with script(1) from Debian's essential packages.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::cli::Cli;
use crate::process::{Home, binary, pace};
use crate::wait_for;

const SOON: Duration = Duration::from_secs(30);

/// `qwen-queue` in a terminal of 120 columns and 30 rows. Dropping it kills it.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Receiver<String>,
    /// The output after the last word that was waited for.
    unread: RefCell<String>,
    pid: String,
}

impl Terminal {
    /// Runs `qwen-queue` with `args` and waits until its view has opened.
    ///
    /// # Panics
    /// If it does not open.
    pub fn start(cli: &Cli, args: &str) -> Self {
        Self::type_in(cli, &format!("exec {} {args}", binary("qwen-queue").display()))
    }

    /// Runs `qwen-queue` within a shell that outlives it: the shell runs `first` before, and writes the exit
    /// code to `code` afterwards, as a line.
    ///
    /// # Panics
    /// If its view does not open.
    pub fn start_in(cli: &Cli, first: &str, args: &str, code: &Path) -> Self {
        let (program, code) = (binary("qwen-queue"), code.display());
        Self::type_in(cli, &format!("{first}; {} {args}; echo $? > {code}", program.display()))
    }

    fn type_in(cli: &Cli, typed: &str) -> Self {
        let typed = format!("stty rows 30 cols 120; echo pid=$$.; {typed}");
        let mut terminal = Self::open(cli.command("script", &[]), &typed);
        let seen = terminal.wait_for_text("\u{1b}[?1049h");
        terminal.pid = pid(&seen);
        terminal
    }

    /// Runs a shell's line in a folder, with these settings and no others. The line has to print
    /// `pid=…` and a full stop; `QWEN_QUEUE` is our program.
    ///
    /// # Panics
    /// If it does not.
    pub fn run(home: &Home, line: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("script");
        command
            .current_dir(home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("HOST", "127.0.0.1")
            .env("QWEN_QUEUE", binary("qwen-queue"))
            .envs(pace(settings))
            .envs(settings.iter().copied());
        let mut terminal = Self::open(command, line);
        let seen = terminal.wait_for_text("pid=") + &terminal.wait_for_text(".");
        terminal.pid = pid(&seen);
        terminal
    }

    fn open(mut command: Command, typed: &str) -> Self {
        command.args(["--quiet", "--return", "--command", typed, "/dev/null"]);
        command.env("TERM", "xterm").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("script runs");
        let keys = script.stdin.take().expect("its input");
        let mut output = script.stdout.take().expect("its output");
        let (send, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if send.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                    return;
                }
            }
        });
        let unread = RefCell::default();
        Self { script, keys, shown, unread, pid: String::new() }
    }

    /// Waits until `word` is written, and returns the output from the end of the last call up to
    /// it. Wait for single words, since text that is drawn over other text comes in pieces.
    ///
    /// # Panics
    /// If 30 seconds pass.
    pub fn wait_for_text(&self, word: &str) -> String {
        let mut unread = self.unread.borrow_mut();
        let end = wait_for(&format!("{word:?} in the terminal"), SOON, || {
            unread.extend(self.shown.try_iter());
            unread.find(word).map(|start| start + word.len())
        });
        unread.drain(..end).collect()
    }

    /// Types keys.
    ///
    /// # Panics
    /// If the program does not read them.
    pub fn press(&mut self, keys: &str) {
        let pressed = self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush());
        pressed.expect("the program does not read keys");
    }

    /// Sends the program a signal by name.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status().expect("kill runs");
        assert!(sent.success(), "the program has ended");
    }

    /// Removes the terminal, as closing a window does, and waits until the program has ended.
    ///
    /// # Panics
    /// If it does not end within 30 seconds.
    pub fn close_and_wait(mut self) {
        self.script.kill().expect("cannot kill a child");
        self.script.wait().expect("cannot wait for a child");
        let process = format!("/proc/{}/stat", self.pid);
        wait_for("the end of the program without a terminal", SOON, || {
            // The program stays as a zombie if nothing waits for it.
            let stat = std::fs::read_to_string(&process).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }

    /// Waits until the program has restored the terminal and ended, and returns its exit status.
    ///
    /// # Panics
    /// If 30 seconds pass.
    pub fn wait_for_end(mut self) -> ExitStatus {
        self.wait_for_text("\u{1b}[?1049l");
        wait_for("the end of the program", SOON, || {
            self.script.try_wait().expect("cannot wait for a child")
        })
    }
}

/// The number behind `pid=`.
fn pid(seen: &str) -> String {
    let pid = seen.rsplit("pid=").next().and_then(|rest| rest.split('.').next());
    pid.expect("its process id").to_owned()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
