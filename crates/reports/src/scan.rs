//! Reads inputs with several threads. Each thread has its own [`Sink`].
//!
//! The threads share a plain input block by block: one reads while the others parse. A compressed input is read by one
//! thread, since decoding it takes most of the time; several are read at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memchr_iter;

use crate::blocks::{Block, Blocks};
use crate::decode::Opened;
use crate::inputs::Input;

type Reader = Blocks<Box<dyn std::io::Read + Send>>;

/// The position of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The input's index.
    pub(crate) input: usize,
    /// The line's number in it, from 1.
    pub(crate) line: u64,
}

/// What becomes of lines.
pub(crate) trait Sink: Send {
    /// Takes a line without its line end. `is_too_long` says that it is the beginning of a longer line. Returns
    /// whether to continue.
    fn take(&mut self, place: Place, line: &[u8], is_too_long: bool) -> ControlFlow<()>;
}

/// An input that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) input: usize,
    pub(crate) error: String,
}

/// Called with the number of bytes read so far, by any thread.
pub type OnProgress<'a> = &'a (dyn Fn(u64) + Sync);

/// Passes all lines of all inputs to the sinks, one thread for each sink. With one sink the lines are in order.
/// Returns the sinks, and the inputs that could not be read to their ends.
pub(crate) fn scan<S: Sink>(
    inputs: &[Input],
    mut sinks: Vec<S>,
    progress: OnProgress<'_>,
) -> (Vec<S>, Vec<Problem>) {
    let scanner = Scanner {
        inputs,
        state: Mutex::default(),
        read: Arc::new(AtomicU64::new(0)),
        is_stopped: AtomicBool::new(false),
        progress,
    };
    std::thread::scope(|scope| {
        for sink in &mut sinks {
            scope.spawn(|| scanner.work(sink));
        }
    });
    let state = scanner.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut problems = state.problems;
    problems.sort_by_key(|problem| problem.input);
    (sinks, problems)
}

struct Scanner<'a> {
    inputs: &'a [Input],
    state: Mutex<State>,
    /// The number of bytes read from all inputs.
    read: Arc<AtomicU64>,
    is_stopped: AtomicBool,
    progress: OnProgress<'a>,
}

#[derive(Default)]
struct State {
    /// The index of the next input to open.
    next: usize,
    /// The plain input that the threads share, and its index.
    shared: Option<(usize, Reader)>,
    problems: Vec<Problem>,
}

/// What a thread does next.
enum Work {
    /// Parse a block of this input.
    Parse(usize, Block),
    /// Read this input alone.
    ReadAlone(usize, Reader),
}

impl Scanner<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, sink: &mut impl Sink) {
        let mut buffer = Vec::new();
        while !self.is_stopped.load(Ordering::Relaxed) {
            // In a statement of its own: in the head of a `match` the lock would be held while it is parsed.
            let work = self.state().next(self.inputs, &self.read, &mut buffer);
            match work {
                None => return,
                Some(Work::Parse(input, block)) => self.parse(input, block, &buffer, sink),
                Some(Work::ReadAlone(input, reader)) => {
                    self.read_alone(input, reader, &mut buffer, sink);
                }
            }
        }
    }

    fn read_alone(
        &self,
        input: usize,
        mut reader: Reader,
        buffer: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) {
        while !self.is_stopped.load(Ordering::Relaxed) {
            match reader.next(buffer) {
                Ok(Some(block)) => self.parse(input, block, buffer, sink),
                Ok(None) => return,
                Err(error) => {
                    self.state().problems.push(Problem { input, error: error.to_string() });
                    return;
                }
            }
        }
    }

    fn parse(&self, input: usize, block: Block, buffer: &[u8], sink: &mut impl Sink) {
        let (mut start, mut line) = (0, block.first_line);
        let mut take = |bytes: &[u8]| {
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let flow = sink.take(Place { input, line }, bytes, block.is_too_long);
            line += 1;
            flow
        };
        let bytes = &buffer[..block.length];
        let stopped = memchr_iter(b'\n', bytes).try_for_each(|end| {
            let flow = take(&bytes[start..end]);
            start = end + 1;
            flow
        });
        let last = &bytes[start..];
        if stopped.is_break() || (!last.is_empty() && take(last).is_break()) {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        (self.progress)(self.read.load(Ordering::Relaxed));
    }
}

impl State {
    fn next(
        &mut self,
        inputs: &[Input],
        read: &Arc<AtomicU64>,
        buffer: &mut Vec<u8>,
    ) -> Option<Work> {
        loop {
            if let Some((input, reader)) = &mut self.shared {
                let input = *input;
                match reader.next(buffer) {
                    Ok(Some(block)) => return Some(Work::Parse(input, block)),
                    Ok(None) => {}
                    Err(error) => self.problems.push(Problem { input, error: error.to_string() }),
                }
                self.shared = None;
            }
            let input = self.next;
            self.next += 1;
            match inputs.get(input)?.open(Arc::clone(read)) {
                Ok(Opened { reader, is_compressed: true }) => {
                    return Some(Work::ReadAlone(input, Blocks::new(reader)));
                }
                Ok(Opened { reader, .. }) => self.shared = Some((input, Blocks::new(reader))),
                Err(error) => self.problems.push(Problem { input, error: error.to_string() }),
            }
        }
    }
}
