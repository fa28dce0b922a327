//! The thread that writes log files, so that no caller blocks on a disk.
//!
//! Lines arrive through a channel and are written in order, all waiting ones together. While the
//! file cannot be written (the disk is full, the folder is read-only), lines wait in memory up to a
//! limit in bytes; further ones are counted as lost. A caller whose line is also kept elsewhere
//! requests a [`Receipt`]: such a line never waits here, and the receipt reports at once that it
//! was not written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::counts::{LogCounts, LogFile};
use super::daily::DailyFile;
use super::output::Output;
use super::secrets::Secrets;

/// The interval at which an idle writer checks that its files are still at their paths.
const BEAT: Duration = Duration::from_secs(1);
/// Pause between retries of a failed write.
const RETRY: Duration = Duration::from_millis(200);
/// Pause after lines were written, so that those that arrive meanwhile are written together: waking a
/// thread for each line costs a busy process more than writing the line.
pub(super) const PAUSE: Duration = Duration::from_millis(2);
/// Maximum number of lines that are taken from the channel before they are written.
const BATCH: usize = 1024;
/// Maximum wait for the last lines when the process ends.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Reports whether a line was written.
#[derive(Debug)]
pub(crate) struct Receipt(oneshot::Receiver<bool>);

impl Receipt {
    /// Waits until the line was written to the file (`true`) or has failed (`false`). After a
    /// failure, no part of it is in the file or will be, and the caller may submit it again later.
    pub(crate) async fn written(self) -> bool {
        self.0.await.unwrap_or(false)
    }
}

/// A line, and for a failed task its block in `errors.log`. The block is written first, so the
/// presence of the line implies that of the block.
#[derive(Debug)]
pub(super) struct Entry {
    block: Option<Vec<u8>>,
    line: Vec<u8>,
    receipt: Option<oneshot::Sender<bool>>,
}

impl Entry {
    pub(super) fn new(line: Vec<u8>, block: Option<Vec<u8>>) -> Self {
        Self { block, line, receipt: None }
    }

    /// Requests a receipt.
    pub(super) fn with_receipt(mut self) -> (Self, Receipt) {
        let (sender, receipt) = oneshot::channel();
        self.receipt = Some(sender);
        (self, Receipt(receipt))
    }

    fn bytes(&self) -> usize {
        self.line.len() + self.block.as_ref().map_or(0, Vec::len)
    }
}

enum Message {
    Entry(Entry),
    /// Reopen the files.
    Reopen,
    /// Check the stop flag.
    Wake,
}

/// The sending side of the channel. Never blocks.
#[derive(Clone)]
pub(super) struct LogSender {
    to: Sender<Message>,
    file: LogFile,
    counts: LogCounts,
    /// Bytes that are neither written nor discarded yet.
    waiting: Arc<AtomicUsize>,
    /// Maximum of `waiting`.
    room: usize,
    /// Secrets to remove from every line.
    secrets: Secrets,
}

impl LogSender {
    /// Sets the secrets to remove from every line.
    pub(super) fn without(mut self, secrets: &Secrets) -> Self {
        self.secrets = secrets.clone();
        self
    }

    /// Submits a line.
    pub(super) fn put(&self, mut entry: Entry) {
        for text in [Some(&mut entry.line), entry.block.as_mut()].into_iter().flatten() {
            if let Some(redacted_text) = self.secrets.redact(text) {
                *text = redacted_text;
            }
        }
        let bytes = entry.bytes();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.room {
            self.refuse(entry);
        } else if let Err(mpsc::SendError(Message::Entry(entry))) =
            self.to.send(Message::Entry(entry))
        {
            self.refuse(entry); // the writer has ended
        }
    }

    /// Requests that the writer reopen its files.
    pub(super) fn reopen(&self) {
        let _ = self.to.send(Message::Reopen); // an ended writer has none
    }

    fn refuse(&self, entry: Entry) {
        self.waiting.fetch_sub(entry.bytes(), Ordering::Relaxed);
        give_up(entry, self.file, &self.counts);
    }
}

/// `tracing` writes each event with one call.
impl io::Write for LogSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(Entry::new(bytes.to_vec(), None));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a negative receipt, or counts the line as lost if no receipt was requested.
fn give_up(entry: Entry, file: LogFile, counts: &LogCounts) {
    if let Some(receipt) = entry.receipt {
        let _ = receipt.send(false); // one who no longer listens owes it all the same
        return;
    }
    counts.add_lost(file, 1);
    if entry.block.is_some() {
        counts.add_lost(LogFile::Errors, 1);
    }
}

/// The handle of the thread. Dropping it writes all waiting lines and ends the thread.
#[derive(Debug)]
pub(super) struct Thread {
    stop: Arc<AtomicBool>,
    wake: Sender<Message>,
    ended: Receiver<()>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.wake.send(Message::Wake);
        // A disk that hangs must not keep the process alive.
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

/// Starts a thread that writes lines to `main` and blocks to `errors`, with a buffer of `room`
/// bytes.
pub(super) fn start(
    main: (LogFile, DailyFile),
    errors: Option<DailyFile>,
    counts: LogCounts,
    room: usize,
) -> io::Result<(LogSender, Thread)> {
    let (to, from) = mpsc::channel();
    let (ending, ended) = mpsc::channel();
    let stop = Arc::<AtomicBool>::default();
    let waiting = Arc::<AtomicUsize>::default();
    let file = main.0;
    let writer = Writer {
        main: Output::new(file, main.1, counts.clone()),
        errors: errors.map(|errors| Output::new(LogFile::Errors, errors, counts.clone())),
        held: Vec::new(),
        kept: 0,
        waiting: waiting.clone(),
        retry_blocks_at: None,
        retry_lines_at: None,
    };
    let stopping = stop.clone();
    std::thread::Builder::new().name(format!("log-{}", file.name())).spawn(move || {
        writer.run(&from, &stopping);
        drop(from); // first, so that a line submitted after the end is refused, and counted
        drop(ending);
    })?;
    let secrets = Secrets::default();
    let log_sender = LogSender { to: to.clone(), file, counts, waiting, room, secrets };
    Ok((log_sender, Thread { stop, wake: to, ended }))
}

struct Writer {
    main: Output,
    /// The file for the blocks of failed tasks.
    errors: Option<Output>,
    /// Lines that are not written yet, in order.
    held: Vec<Entry>,
    /// The number of them that remain from the last write; none of these has a receipt.
    kept: usize,
    waiting: Arc<AtomicUsize>,
    /// The times of the next retries after a failure of either file: one that fails does not hold up the other.
    retry_blocks_at: Option<Instant>,
    retry_lines_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, from: &Receiver<Message>, stop: &AtomicBool) {
        loop {
            let patience = if self.held.is_empty() { BEAT } else { RETRY };
            match from.recv_timeout(patience) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.outputs().for_each(Output::look),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Read before the channel is emptied: what was submitted before the stop is in it by now.
            let stopping = stop.load(Ordering::Acquire);
            let mut taken = 0;
            while taken < BATCH
                && let Ok(message) = from.try_recv()
            {
                self.take(message);
                taken += 1;
            }
            let has_receipts = self.held.iter().any(|entry| entry.receipt.is_some());
            self.write(false);
            if taken < BATCH && stopping {
                break;
            }
            if !has_receipts {
                std::thread::sleep(PAUSE);
            }
        }
        self.write(true);
        for entry in std::mem::take(&mut self.held) {
            self.give_up(entry);
        }
        self.outputs().for_each(Output::report_lost);
    }

    fn outputs(&mut self) -> impl Iterator<Item = &mut Output> {
        self.errors.iter_mut().chain([&mut self.main])
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Entry(entry) => self.held.push(entry),
            Message::Reopen => self.outputs().for_each(Output::reopen),
            Message::Wake => {}
        }
    }

    /// Writes the waiting lines. With `now`, does not wait for the pause between retries.
    fn write(&mut self, now: bool) {
        if self.held.is_empty() {
            return;
        }
        let at = Instant::now();
        let is_due = |retry: Option<Instant>| now || retry.is_none_or(|retry| at >= retry);
        let (blocks_are_due, lines_are_due) =
            (is_due(self.retry_blocks_at), is_due(self.retry_lines_at));
        if blocks_are_due {
            self.retry_blocks_at = (!self.write_blocks()).then_some(at + RETRY);
        }
        if lines_are_due {
            self.retry_lines_at = (!self.write_lines()).then_some(at + RETRY);
        }
        let is_due = blocks_are_due || lines_are_due;
        // Lines with a receipt do not wait here.
        let unseen = self.held.split_off(if is_due { 0 } else { self.kept });
        for entry in unseen {
            if entry.receipt.is_some() {
                self.give_up(entry);
            } else {
                self.held.push(entry);
            }
        }
        self.kept = self.held.len();
        self.main.set_waiting(self.kept);
        if is_due && let Some(errors) = &mut self.errors {
            let blocks = self.held.iter().filter(|entry| entry.block.is_some());
            errors.set_waiting(blocks.count());
        }
    }

    /// Writes the waiting blocks. Returns whether all were written.
    fn write_blocks(&mut self) -> bool {
        let Some(errors) = &mut self.errors else { return true };
        let mut with_block: Vec<&mut Entry> =
            self.held.iter_mut().filter(|entry| entry.block.is_some()).collect();
        let blocks: Vec<&[u8]> =
            with_block.iter().filter_map(|entry| entry.block.as_deref()).collect();
        let written = errors.write(&blocks);
        let all = written == blocks.len();
        for entry in with_block.iter_mut().take(written) {
            let bytes = entry.block.take().map_or(0, |block| block.len());
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        all
    }

    /// Writes the lines of the entries whose blocks are written. Returns whether all of these were written.
    fn write_lines(&mut self) -> bool {
        let is_ready = |entry: &Entry| entry.block.is_none();
        let lines: Vec<&[u8]> = self
            .held
            .iter()
            .filter(|entry| is_ready(entry))
            .map(|entry| entry.line.as_slice())
            .collect();
        let mut left = self.main.write(&lines);
        let all = left == lines.len();
        for entry in std::mem::take(&mut self.held) {
            if left == 0 || !is_ready(&entry) {
                self.held.push(entry);
                continue;
            }
            left -= 1;
            self.settled(&entry);
            if let Some(receipt) = entry.receipt {
                let _ = receipt.send(true); // nobody waits for it any more
            }
        }
        all
    }

    fn give_up(&self, entry: Entry) {
        self.settled(&entry);
        give_up(entry, self.main.file(), self.main.counts());
    }

    fn settled(&self, entry: &Entry) {
        self.waiting.fetch_sub(entry.bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
