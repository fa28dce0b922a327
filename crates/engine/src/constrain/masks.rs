//! Token masks, and the threads that compute them while the model computes a step.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use grammar::{ConstraintError, Mask, Matcher};

/// A matcher with the mask of the tokens that may come next.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) matcher: Matcher,
    pub(super) mask: Mask,
    /// The wall-clock time to compute the mask.
    pub(super) took: Duration,
}

impl Prepared {
    /// Computes the mask.
    ///
    /// # Errors
    /// If the constraint can't be followed any further.
    pub(super) fn of(mut matcher: Matcher) -> Result<Self, ConstraintError> {
        let begin = Instant::now();
        // The matcher returns its panics as errors.
        let mask = matcher.mask()?;
        Ok(Self { matcher, mask, took: begin.elapsed() })
    }
}

/// A request to compute a matcher's mask.
#[derive(Debug)]
pub(super) struct Job {
    matcher: Matcher,
    /// Has a buffer of one, so that sending the reply never blocks.
    reply: SyncSender<Result<Prepared, ConstraintError>>,
}

impl Job {
    /// Sends a request to compute a mask, and returns the receiver of the reply.
    pub(super) fn send(
        matcher: Matcher,
        jobs: &Sender<Job>,
    ) -> Receiver<Result<Prepared, ConstraintError>> {
        let (reply, prepared) = sync_channel(1);
        // Without threads the job is dropped, and the receiver gets an error.
        let _ = jobs.send(Job { matcher, reply });
        prepared
    }
}

/// A few threads that compute masks. They end when all senders are dropped.
#[derive(Debug)]
pub(super) struct MaskThreads {
    // The threads wait at its receiver. Sequences have clones of the sender.
    jobs: Mutex<Sender<Job>>,
}

impl MaskThreads {
    pub(super) fn start() -> Self {
        let (jobs, inbox) = channel();
        let inbox = Arc::new(Mutex::new(inbox));
        // A mask takes a small part of a step, so there is one thread per four cores, at most four.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 4).clamp(1, 4) {
            let inbox = inbox.clone();
            let thread = std::thread::Builder::new().name(format!("engine-masks-{number}"));
            if let Err(error) = thread.spawn(move || work(&inbox)) {
                tracing::error!("cannot start a thread for the masks of constraints: {error}");
            }
        }
        Self { jobs: Mutex::new(jobs) }
    }

    pub(super) fn jobs(&self) -> Sender<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The error for a mask that is not computed because the threads have ended.
pub(super) fn gone() -> ConstraintError {
    ConstraintError::new("the threads that compute the masks of constraints have ended")
}

fn work(inbox: &Mutex<Receiver<Job>>) {
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { matcher, reply }) = job else { return };
        // An error means that the sequence has ended and no longer needs the mask.
        let _ = reply.send(Prepared::of(matcher));
    }
}
