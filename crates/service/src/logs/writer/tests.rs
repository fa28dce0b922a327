//! Tests the thread with real files that are full, moved and restored.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::*;
use crate::logs::counts::FileCounts;

const SOON: Duration = Duration::from_secs(10);

struct Rig {
    log_sender: LogSender,
    thread: Option<Thread>,
    counts: LogCounts,
    folder: tempfile::TempDir,
}

impl Rig {
    /// Starts a writer some of whose files are full.
    fn with_full(full: &[LogFile], room: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in full {
            symlink("/dev/full", today(folder.path(), *file)).unwrap();
        }
        let open = |file: LogFile| DailyFile::open(folder.path(), file.name()).unwrap();
        let counts = LogCounts::default();
        let (log_sender, thread) = start(
            (LogFile::Requests, open(LogFile::Requests)),
            Some(open(LogFile::Errors)),
            counts.clone(),
            room,
        )
        .unwrap();
        Self { log_sender, thread: Some(thread), counts, folder }
    }

    fn put(&self, line: &str, block: Option<&str>) {
        self.log_sender.put(entry(line, block));
    }

    /// Submits a line with a receipt, and waits for the receipt.
    fn offer(&self, line: &str, block: Option<&str>) -> bool {
        let (entry, receipt) = entry(line, block).with_receipt();
        self.log_sender.put(entry);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let written = async { tokio::time::timeout(SOON, receipt.written()).await };
        runtime.block_on(written).expect("a receipt comes soon")
    }

    /// Makes room in a full file.
    fn heal(&self, file: LogFile) {
        fs::remove_file(today(self.folder.path(), file)).unwrap();
    }

    fn wait_for(&self, file: LogFile, expected: FileCounts) {
        let until = Instant::now() + SOON;
        while (FileCounts { failing: 0, ..self.counts.of(file) }) != expected {
            assert!(Instant::now() < until, "{:?} is not {expected:?}", self.counts.of(file));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read(&self, file: LogFile) -> String {
        fs::read_to_string(self.folder.path().join(format!("{}.log", file.name()))).unwrap()
    }

    fn end(&mut self) {
        self.thread.take();
    }
}

fn entry(line: &str, block: Option<&str>) -> Entry {
    Entry::new(line.into(), block.map(Into::into))
}

fn today(dir: &Path, file: LogFile) -> PathBuf {
    dir.join(format!("{}.{}.log", file.name(), OffsetDateTime::now_utc().date()))
}

fn counts(written: u64, waiting: u64, lost: u64) -> FileCounts {
    FileCounts { written, waiting, lost, failing: 0 }
}

const AMPLE_BYTES: usize = 1 << 20;

#[test]
fn receipt_confirms_that_the_line_is_in_the_file() {
    let rig = Rig::with_full(&[], AMPLE_BYTES);
    rig.put("1\n", None);
    assert!(rig.offer("2\n", Some("block 2\n")));
    assert_eq!(rig.read(LogFile::Requests), "1\n2\n");
    assert_eq!(rig.read(LogFile::Errors), "block 2\n");
    assert_eq!(rig.counts.of(LogFile::Requests), counts(2, 0, 0));
    assert_eq!(rig.counts.total(), counts(3, 0, 0));
}

#[test]
fn lines_refused_by_a_full_disk_wait_or_are_returned_to_the_caller() {
    let rig = Rig::with_full(&[LogFile::Requests], AMPLE_BYTES);
    rig.put("1\n", None);
    rig.wait_for(LogFile::Requests, counts(0, 1, 0));
    assert!(!rig.offer("owed\n", None));
    rig.put("2\n", None);
    assert!(!rig.offer("owed too\n", None));
    rig.put("3\n", None);
    rig.wait_for(LogFile::Requests, counts(0, 3, 0));
    assert_eq!(rig.counts.total().failing, 1);
    rig.heal(LogFile::Requests);
    rig.wait_for(LogFile::Requests, counts(3, 0, 0));
    assert_eq!(rig.counts.total().failing, 0);
    assert_eq!(
        rig.read(LogFile::Requests),
        "1\n2\n3\n",
        "in their order, and nothing that is owed"
    );
    assert!(rig.offer("owed\n", None));
    assert_eq!(rig.read(LogFile::Requests), "1\n2\n3\nowed\n");
}

#[test]
fn lines_dropped_from_a_full_buffer_are_counted() {
    let rig = Rig::with_full(&[LogFile::Requests, LogFile::Errors], 10);
    rig.put("123\n", None);
    rig.put("456\n", None);
    rig.put("789\n", Some("block\n"));
    rig.put("0\n", None);
    assert!(!rig.offer("too much\n", None));
    rig.wait_for(LogFile::Requests, counts(0, 3, 1));
    rig.wait_for(LogFile::Errors, counts(0, 0, 1));
    rig.heal(LogFile::Requests);
    rig.wait_for(LogFile::Requests, counts(3, 0, 1));
    assert_eq!(rig.read(LogFile::Requests), "123\n456\n0\n");
    rig.put("abc\n", None);
    rig.wait_for(LogFile::Requests, counts(4, 0, 1));
}

#[test]
fn error_block_is_written_before_the_request_line() {
    let rig = Rig::with_full(&[LogFile::Errors], AMPLE_BYTES);
    rig.put("failed\n", Some("why\n"));
    assert!(rig.offer("fine\n", None), "others do not wait for it");
    assert!(!rig.offer("owed\n", Some("why\n")));
    rig.wait_for(LogFile::Errors, counts(0, 1, 0));
    rig.heal(LogFile::Errors);
    rig.wait_for(LogFile::Errors, counts(1, 0, 0));
    rig.wait_for(LogFile::Requests, counts(2, 0, 0));
    assert_eq!(rig.read(LogFile::Requests), "fine\nfailed\n");
    assert_eq!(rig.read(LogFile::Errors), "why\n");
}

#[test]
fn shutdown_writes_waiting_lines_and_counts_lost_ones() {
    let mut rig = Rig::with_full(&[], AMPLE_BYTES);
    for n in 0..5_000 {
        rig.put(&format!("{n}\n"), None);
    }
    rig.end();
    assert_eq!(rig.read(LogFile::Requests).lines().count(), 5_000);
    rig.put("late\n", None);
    assert!(!rig.offer("late\n", None));
    assert_eq!(rig.counts.of(LogFile::Requests), counts(5_000, 0, 1));

    let mut rig = Rig::with_full(&[LogFile::Requests], AMPLE_BYTES);
    rig.put("1\n", None);
    rig.put("2\n", Some("block\n"));
    rig.end();
    assert_eq!(rig.counts.of(LogFile::Requests).lost, 2);
    assert_eq!(rig.counts.of(LogFile::Errors), counts(1, 0, 0));
}

#[test]
fn idle_writer_recreates_its_file_and_reopen_does_so_immediately() {
    let rig = Rig::with_full(&[], AMPLE_BYTES);
    let path = today(rig.folder.path(), LogFile::Requests);
    let is_back = || {
        let until = Instant::now() + SOON;
        while !path.exists() {
            assert!(Instant::now() < until, "nobody opened it again");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    fs::remove_file(&path).unwrap();
    is_back();
    fs::rename(&path, rig.folder.path().join("old")).unwrap();
    let began = Instant::now();
    rig.log_sender.reopen();
    is_back();
    assert!(began.elapsed() < BEAT, "it took {:?}", began.elapsed());
}

#[test]
fn no_line_is_lost_to_rotations_under_load() {
    const WRITERS: usize = 4;
    const LINES: usize = 5_000;
    let mut rig = Rig::with_full(&[], 64 * AMPLE_BYTES);
    let dir = rig.folder.path().to_path_buf();
    let path = today(&dir, LogFile::Requests);
    let over = AtomicBool::new(false);
    let rotations = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Acquire) {
                // Moves the file as logrotate does, with and without `create`. A file that does not
                // exist yet is skipped.
                if fs::rename(&path, dir.join(format!("{count}.old"))).is_ok() {
                    count += 1;
                    if count % 2 == 0 {
                        fs::File::options().create_new(true).append(true).open(&path).ok();
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            count
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let log_sender = rig.log_sender.clone();
                scope.spawn(move || {
                    for n in 0..LINES {
                        log_sender.put(entry(&format!("{writer}-{n}\n"), None));
                        if n % 100 == 0 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::Release);
        rotating.join().unwrap()
    });
    rig.end();
    assert!(rotations > 5, "{rotations} rotations test little");
    let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    let text: String = files.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), WRITERS * LINES, "after {rotations} rotations");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), WRITERS * LINES, "one was written twice");
}
