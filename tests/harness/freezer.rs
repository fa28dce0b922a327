//! Stops a single thread of a running process, to simulate a computation that hangs. (`SIGSTOP`
//! stops all threads.) Uses ptrace, which Linux allows a process on its children.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The interval at which the tracer checks whether the frozen thread's process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A stopped thread, which continues when this is dropped.
pub struct Frozen {
    thaw: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Frozen {
    /// Stops the thread `name` of process `pid`.
    ///
    /// # Panics
    /// If there is no such thread, or ptrace is not allowed.
    pub fn thread(pid: u32, name: &str) -> Self {
        let thread = thread_id(pid, name);
        let (thaw, thawed) = channel();
        let (ready, frozen) = channel();
        // ptrace requires that the same thread starts and ends the tracing.
        let tracer = std::thread::spawn(move || hold(thread, &ready, &thawed));
        frozen.recv().expect("the thread was not stopped");
        Self { thaw: Some(thaw), tracer: Some(tracer) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.thaw.take());
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

fn hold(thread: Pid, ready: &Sender<()>, thawed: &Receiver<()>) {
    ptrace::seize(thread, ptrace::Options::empty()).expect("ptrace is not allowed");
    ptrace::interrupt(thread).expect("the thread is not traced");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("the thread did not stop");
    ready.send(()).expect("nobody waits for the tracer");
    // Holds the thread until the other end is dropped. If the process ends meanwhile, its parent
    // cannot collect it before the tracer has seen the thread's end.
    while thawed.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        match waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let _ = ptrace::detach(thread, None);
}

fn thread_id(pid: u32, name: &str) -> Pid {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let found = threads.flatten().find(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let found = found.unwrap_or_else(|| panic!("process {pid} has no thread '{name}'"));
    let id = found.file_name().into_string().ok().and_then(|id| id.parse().ok());
    Pid::from_raw(id.expect("a number"))
}
