//! Runs a program: in a process group of its own, with limits of time, memory and output.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, prlimit,
    waitid,
};
use tokio::net::unix::pipe;

/// The limits of a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The longest time from start to end.
    pub(super) time: Duration,
    /// The most bytes that it writes to its output.
    pub(super) output: usize,
    /// The most bytes of memory of each of its processes.
    pub(super) memory: u64,
}

impl Default for Limits {
    /// 10 s, 1 MiB, 1 GiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(10), output: 1 << 20, memory: 1 << 30 }
    }
}

/// Waits for a line, and becomes the program `$0`. So the program does not begin before its limits are set. Nothing that
/// a client or a model wrote is among the arguments.
const GATE: &str = "read -r line && unset PWD OLDPWD SHLVL && exec \"$0\"";
/// The end of its messages that is kept.
const MESSAGES: usize = 1_000;
/// The most bytes of a file that it writes.
const FILE_BYTES: u64 = 16 << 20;
/// The most files that it opens.
const FILES: u64 = 64;
/// The bytes that are read from a pipe at once.
const PIECE: usize = 16 << 10;
/// The pause between two looks at a program that has closed its output.
const LOOK: Duration = Duration::from_millis(2);

/// The time to read what it has written to its standard error before its end.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it wrote, or why there is nothing to use.
    pub(super) output: Result<Vec<u8>, String>,
    /// The end of what it wrote to its standard error.
    pub(super) messages: String,
}

/// Runs a program to its end, with `input` as its standard input. All of its processes are killed at its end, and if this
/// is dropped.
pub(super) async fn run(program: &Path, input: &[u8], limits: &Limits) -> Ended {
    let mut messages = Vec::new();
    let output = match Group::start(program, limits) {
        Ok((group, pipes)) => {
            let input = [b"\n", input].concat(); // opens the gate
            let running = follow(group, pipes, &input, limits, &mut messages);
            match tokio::time::timeout(limits.time, running).await {
                Ok(output) => output,
                Err(_) => Err(format!("it took longer than {:?}", limits.time)),
            }
        }
        Err(error) => Err(format!("it can't be started: {error}")),
    };
    Ended { output, messages: String::from_utf8_lossy(&messages).trim().to_owned() }
}

/// The pipes to a program.
struct Pipes {
    input: pipe::Sender,
    output: pipe::Receiver,
    messages: pipe::Receiver,
}

/// A program and the processes that it starts, which end when this is dropped.
struct Group {
    child: Child,
    id: Pid,
    is_over: bool,
}

impl Group {
    fn start(program: &Path, limits: &Limits) -> io::Result<(Self, Pipes)> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GATE]).arg(program);
        command.env_clear().current_dir("/").process_group(0);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, output, messages) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let group = Self { id: Pid::from_child(&child), child, is_over: false };
        group.limit(limits)?;
        let missing = || io::Error::from(ErrorKind::BrokenPipe);
        let pipes = Pipes {
            input: pipe::Sender::from_owned_fd(OwnedFd::from(input.ok_or_else(missing)?))?,
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(output.ok_or_else(missing)?))?,
            messages: pipe::Receiver::from_owned_fd(OwnedFd::from(messages.ok_or_else(missing)?))?,
        };
        Ok((group, pipes))
    }

    /// Limits the program, and what it starts from now on.
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let seconds = limits.time.as_secs().max(1);
        for (resource, most) in [
            (Resource::Cpu, seconds),
            // Memory that is used; runtimes reserve more addresses than that.
            (Resource::Data, limits.memory),
            (Resource::As, limits.memory.saturating_mul(16)),
            (Resource::Fsize, FILE_BYTES),
            (Resource::Nofile, FILES),
            (Resource::Core, 0),
        ] {
            // A limit of the worker's own may be lower, and can't be raised.
            let most = getrlimit(resource).maximum.map_or(most, |own| own.min(most));
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            match prlimit(Some(self.id), resource, limit) {
                Ok(_) => {}
                Err(rustix::io::Errno::SRCH) => break, // it has ended
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for the end of the program, ends what it has started, and returns how it ended.
    async fn end(mut self) -> io::Result<ExitStatus> {
        // Until it is waited for, no other process can have its id, which is the group's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(self.id), options)?.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        self.kill();
        self.child.wait()
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            let _ = kill_process_group(self.id, Signal::KILL); // it may have ended
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It ends now; the kernel may take a moment.
            let id = self.id;
            let _ = std::thread::Builder::new()
                .name("reaper".to_owned())
                .spawn(move || waitid(WaitId::Pid(id), WaitIdOptions::EXITED));
        }
    }
}

/// Writes the input and reads the output until the program ends.
async fn follow(
    group: Group,
    pipes: Pipes,
    input: &[u8],
    limits: &Limits,
    messages: &mut Vec<u8>,
) -> Result<Vec<u8>, String> {
    let Pipes { input: sender, output: receiver, messages: errors } = pipes;
    let mut output = Vec::new();
    let mut is_too_long = false;
    let read = async {
        each_piece(&receiver, |piece| {
            is_too_long = output.len() + piece.len() > limits.output;
            if !is_too_long {
                output.extend_from_slice(piece);
            }
            !is_too_long
        })
        .await
    };
    let listen = each_piece(&errors, |piece| {
        messages.extend_from_slice(piece);
        messages.drain(..messages.len().saturating_sub(MESSAGES));
        true
    });
    // A program need not read its input.
    let listen_and_tell = async { tokio::join!(listen, write(sender, input)) };
    tokio::pin!(listen_and_tell);
    let mut said_all = false;
    let was_read = {
        tokio::pin!(read);
        loop {
            tokio::select! {
                was_read = &mut read => break was_read,
                _ = &mut listen_and_tell, if !said_all => said_all = true,
            }
        }
    };
    was_read.map_err(|error| format!("its output can't be read: {error}"))?;
    if is_too_long {
        return Err(format!("it writes more than {} bytes", limits.output));
    }
    let status = {
        let ended = group.end();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                status = &mut ended => break status,
                _ = &mut listen_and_tell, if !said_all => said_all = true,
            }
        }
    };
    let status = status.map_err(|error| format!("its end can't be seen: {error}"))?;
    if !said_all {
        let _ = tokio::time::timeout(LAST_WORDS, listen_and_tell).await;
    }
    match (status.success(), status.code(), status.signal()) {
        (true, ..) => Ok(output),
        (_, Some(code), _) => Err(format!("it ended with the exit code {code}")),
        (_, _, signal) => Err(format!("it was ended by the signal {}", signal.unwrap_or_default())),
    }
}

/// Calls `take` with each piece from a pipe, until its end or until it returns false.
async fn each_piece(
    receiver: &pipe::Receiver,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        receiver.readable().await?;
        match receiver.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) if !take(&piece[..len]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all bytes, and closes the pipe. Stops if nobody reads.
async fn write(sender: pipe::Sender, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        if sender.writable().await.is_err() {
            return;
        }
        match sender.try_write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
