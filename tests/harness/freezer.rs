//! Stops a single thread of a running process, as a computation that hangs would, while the others
//! go on. (`SIGSTOP` stops them all.) By ptrace, which Linux allows a process on its children.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How often a frozen thread is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// A thread that stands still until this is dropped.
pub struct Frozen {
    thaw: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Frozen {
    /// Stops the thread called `name` of process `pid`.
    ///
    /// # Panics
    /// When there is none, or the system does not allow it.
    pub fn thread(pid: u32, name: &str) -> Self {
        let thread = thread_id(pid, name);
        let (thaw, thawed) = channel();
        let (ready, frozen) = channel();
        // Whoever began to trace a thread must end it: a thread of its own does both.
        let tracer = std::thread::spawn(move || hold(thread, &ready, &thawed));
        frozen.recv().expect("the thread stands still");
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
    ptrace::seize(thread, ptrace::Options::empty()).expect("ptrace is allowed on a child");
    ptrace::interrupt(thread).expect("it is traced");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
    ready.send(()).expect("somebody waits");
    // Until the other end is dropped. A process that ends meanwhile is not gone for its parent before
    // the tracer has taken note of the thread's end.
    while thawed.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
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
