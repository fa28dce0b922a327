//! A terminal for programs that want one: script(1) from Debian's essential packages.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::cli::Cli;
use crate::process::binary;
use crate::wait_for;

const SOON: Duration = Duration::from_secs(30);

/// `qwen-queue` in a terminal of 120 columns and 30 rows. Dropping it ends it.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Receiver<String>,
    /// What was shown behind the last word that was waited for.
    unread: RefCell<String>,
    pid: String,
}

impl Terminal {
    /// Types this and waits until it has begun.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(cli: &Cli, args: &str) -> Self {
        Self::type_in(cli, &format!("exec {} {args}", binary("qwen-queue").display()))
    }

    /// The same from within a shell that outlives it: `first` is done before, and the exit code is written
    /// to `code` afterwards, as a line.
    ///
    /// # Panics
    /// When it does not begin.
    pub fn start_in(cli: &Cli, first: &str, args: &str, code: &Path) -> Self {
        let (program, code) = (binary("qwen-queue"), code.display());
        Self::type_in(cli, &format!("{first}; {} {args}; echo $? > {code}", program.display()))
    }

    fn type_in(cli: &Cli, typed: &str) -> Self {
        let typed = format!("stty rows 30 cols 120; echo pid=$$.; {typed}");
        let mut command =
            cli.command("script", &["--quiet", "--return", "--command", &typed, "/dev/null"]);
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
        let mut terminal = Self { script, keys, shown, unread, pid: String::new() };
        let seen = terminal.wait_to_see("\u{1b}[?1049h");
        let pid = seen.split("pid=").nth(1).and_then(|rest| rest.split('.').next());
        terminal.pid = pid.expect("its process id").to_owned();
        terminal
    }

    /// Waits until this is written, and gives all from where the last call ended to its end. What is
    /// drawn over something else comes in pieces: wait for a single word.
    ///
    /// # Panics
    /// When half a minute passes.
    pub fn wait_to_see(&self, word: &str) -> String {
        let mut unread = self.unread.borrow_mut();
        let end = wait_for(&format!("{word:?} in the terminal"), SOON, || {
            unread.extend(self.shown.try_iter());
            unread.find(word).map(|start| start + word.len())
        });
        unread.drain(..end).collect()
    }

    /// Presses keys.
    ///
    /// # Panics
    /// When nobody reads them.
    pub fn press(&mut self, keys: &str) {
        let pressed = self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush());
        pressed.expect("it reads keys");
    }

    /// Sends the program a signal by its name.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status().expect("kill runs");
        assert!(sent.success(), "it is gone");
    }

    /// Tears the terminal away, as a closed window does, and waits until the program has noticed.
    ///
    /// # Panics
    /// When it has not within half a minute.
    pub fn tear_away(mut self) {
        self.script.kill().expect("it is ours");
        self.script.wait().expect("it is ours");
        let process = format!("/proc/{}/stat", self.pid);
        wait_for("the end of the program without a terminal", SOON, || {
            // One that nobody asks for the end of stays as a zombie.
            let stat = std::fs::read_to_string(&process).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }

    /// Waits until the terminal was given back and the program has ended.
    ///
    /// # Panics
    /// When half a minute passes.
    pub fn wait_for_end(mut self) -> ExitStatus {
        self.wait_to_see("\u{1b}[?1049l");
        wait_for("the end of the program", SOON, || self.script.try_wait().expect("it is ours"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
