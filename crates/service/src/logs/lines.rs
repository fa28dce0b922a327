//! The thread that writes `llm_requests.log` and `errors.log`. Whoever sends an entry waits for no disk, and
//! hears when it is in the files. One that is not written in time, or can't be, is dropped: its line is still
//! owed, and the queue's journal hands it out again.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

/// Entries that may wait for the disk. More are left to the journal.
const WAITING: usize = 8_192;
/// Most that are written at once.
const AT_ONCE: usize = 512;

/// What is to be written of a task.
pub(super) struct Entry {
    /// For `llm_requests.log`.
    pub(super) line: String,
    /// For `errors.log`; empty if there is nothing to say.
    pub(super) block: String,
    /// After this instant it is somebody else's to write.
    pub(super) until: Instant,
    /// Called once both are in the files.
    pub(super) written: Box<dyn FnOnce() + Send>,
}

enum Job {
    Write(Entry),
    Flushed(oneshot::Sender<()>),
    End,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Lines {
    jobs: SyncSender<Job>,
}

/// Dropping it writes what was sent before, and ends the thread.
#[derive(Debug)]
pub(super) struct LinesGuard {
    jobs: SyncSender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    /// Starts the thread, which writes to these two.
    pub(super) fn start(
        requests: impl Write + Send + 'static,
        errors: impl Write + Send + 'static,
    ) -> io::Result<(Self, LinesGuard)> {
        let (jobs, inbox) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("task-log".into())
            .spawn(move || serve(&inbox, &mut File::of(requests), &mut File::of(errors)))?;
        Ok((Self { jobs: jobs.clone() }, LinesGuard { jobs, thread: Some(thread) }))
    }

    /// Has it written soon.
    pub(super) fn send(&self, entry: Entry) {
        // One that finds no room, or no thread as the process ends, is still owed.
        let _ = self.jobs.try_send(Job::Write(entry));
    }

    /// Returns when what was sent before has been dealt with.
    pub(super) async fn flushed(&self) {
        let (done, is_done) = oneshot::channel();
        let jobs = self.jobs.clone();
        // It may have to wait for room; an error means that the thread has ended.
        let asked = tokio::task::spawn_blocking(move || jobs.send(Job::Flushed(done)).is_ok());
        if asked.await.unwrap_or(false) {
            let _ = is_done.await;
        }
    }
}

impl Drop for LinesGuard {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it says by itself why it panicked
        }
    }
}

fn serve(inbox: &Receiver<Job>, requests: &mut File<impl Write>, errors: &mut File<impl Write>) {
    while let Ok(first) = inbox.recv() {
        let (mut entries, mut flushed, mut is_over) = (Vec::new(), Vec::new(), false);
        for job in std::iter::once(first).chain(inbox.try_iter().take(AT_ONCE - 1)) {
            match job {
                Job::Write(entry) => entries.push(entry),
                Job::Flushed(done) => flushed.push(done),
                Job::End => is_over = true,
            }
        }
        write(entries, requests, errors);
        for done in flushed {
            let _ = done.send(()); // an error means that nobody waits any more
        }
        if is_over {
            return;
        }
    }
}

/// Blocks before lines: whoever finds a line takes the block for written too.
fn write(mut entries: Vec<Entry>, requests: &mut File<impl Write>, errors: &mut File<impl Write>) {
    let now = Instant::now();
    entries.retain(|entry| now < entry.until);
    let (mut lines, mut blocks) = (String::new(), String::new());
    for entry in &entries {
        lines.push_str(&entry.line);
        blocks.push_str(&entry.block);
    }
    match errors.append(&blocks).and_then(|()| requests.append(&lines)) {
        Ok(()) => entries.into_iter().for_each(|entry| (entry.written)()),
        Err(error) => tracing::error!(
            target: "service.logs",
            "{} lines of ended tasks can't be written now, and will be tried again: {error}",
            entries.len()
        ),
    }
}

/// A file, and whether its last line is whole.
struct File<W> {
    to: W,
    torn: bool,
}

impl<W: Write> File<W> {
    fn of(to: W) -> Self {
        Self { to, torn: false }
    }

    /// Appends whole lines. What a failed write left of one is ended first.
    fn append(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.to.write_all(b"\n")?;
        }
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        self.torn = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// A disk that takes so many more bytes.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn with_room(room: usize) -> Self {
            let disk = Self::default();
            disk.0.lock().unwrap().1 = room;
            disk
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let taken = bytes.len().min(disk.1);
            if taken == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            disk.0.extend_from_slice(&bytes[..taken]);
            disk.1 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn entry(line: &str, block: &str, told: &Arc<AtomicUsize>) -> Entry {
        let told = told.clone();
        Entry {
            line: line.into(),
            block: block.into(),
            until: Instant::now() + Duration::from_secs(60),
            written: Box::new(move || drop(told.fetch_add(1, Ordering::Relaxed))),
        }
    }

    #[tokio::test]
    async fn who_sends_hears_when_it_is_in_the_file_and_not_before() {
        let (requests, errors) = (Disk::with_room(100), Disk::with_room(100));
        let (lines, guard) = Lines::start(requests.clone(), errors.clone()).unwrap();
        let told = Arc::default();
        lines.send(entry("one\n", "", &told));
        lines.send(entry("two\n", "block\n", &told));
        lines.flushed().await;
        assert_eq!((requests.text(), errors.text()), ("one\ntwo\n".into(), "block\n".into()));
        assert_eq!(told.load(Ordering::Relaxed), 2);
        lines.send(entry("three\n", "", &told));
        drop(guard);
        assert_eq!(requests.text(), "one\ntwo\nthree\n", "what was sent before the end is written");
        lines.send(entry("four\n", "", &told));
        lines.flushed().await;
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn nobody_is_told_of_a_line_that_is_not_whole_and_the_next_stands_for_itself() {
        let (requests, errors) = (Disk::with_room(6), Disk::with_room(100));
        let (lines, _guard) = Lines::start(requests.clone(), errors).unwrap();
        let told = Arc::default();
        lines.send(entry("one\n", "", &told));
        lines.flushed().await;
        lines.send(entry("two\n", "", &told));
        lines.flushed().await;
        assert_eq!((requests.text(), told.load(Ordering::Relaxed)), ("one\ntw".into(), 1));
        requests.0.lock().unwrap().1 = 100;
        lines.send(entry("two\n", "", &told));
        lines.flushed().await;
        assert_eq!((requests.text(), told.load(Ordering::Relaxed)), ("one\ntw\ntwo\n".into(), 2));
    }

    #[tokio::test]
    async fn a_line_whose_time_is_over_is_left_to_others() {
        let requests = Disk::with_room(100);
        let (lines, _guard) = Lines::start(requests.clone(), Disk::with_room(100)).unwrap();
        let told = Arc::default();
        lines.send(Entry { until: Instant::now(), ..entry("late\n", "", &told) });
        lines.flushed().await;
        assert_eq!((requests.text(), told.load(Ordering::Relaxed)), (String::new(), 0));
    }
}
