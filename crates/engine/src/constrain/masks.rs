//! Masks, and the threads that compute them beside the model.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use grammar::{ConstraintError, Mask, Matcher};

/// A matcher with the mask of what may come next.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) matcher: Matcher,
    pub(super) mask: Mask,
    /// How long that took, by the clock.
    pub(super) took: Duration,
}

impl Prepared {
    /// Computes the mask.
    ///
    /// # Errors
    /// The constraint can't be followed any further.
    pub(super) fn of(mut matcher: Matcher) -> Result<Self, ConstraintError> {
        let begin = Instant::now();
        // A panic of the matcher comes back as an error.
        let mask = matcher.mask()?;
        Ok(Self { matcher, mask, took: begin.elapsed() })
    }
}

/// A matcher whose mask is wanted.
#[derive(Debug)]
pub(super) struct Job {
    matcher: Matcher,
    /// Room for the one reply, so that nobody waits to give it.
    reply: SyncSender<Result<Prepared, ConstraintError>>,
}

impl Job {
    /// Asks for a mask; where it will come.
    pub(super) fn send(
        matcher: Matcher,
        jobs: &Sender<Job>,
    ) -> Receiver<Result<Prepared, ConstraintError>> {
        let (reply, prepared) = sync_channel(1);
        // Without threads the reply's sender goes, which is what the receiver hears.
        let _ = jobs.send(Job { matcher, reply });
        prepared
    }
}

/// A few threads that compute masks, until nobody can send them any more.
#[derive(Debug)]
pub(super) struct MaskThreads {
    // Threads sleep on the other end. A mutex, as `Sender` alone is what sequences hold.
    jobs: Mutex<Sender<Job>>,
}

impl MaskThreads {
    pub(super) fn start() -> Self {
        let (jobs, inbox) = channel();
        let inbox = Arc::new(Mutex::new(inbox));
        // Masks take a small part of a step: one thread for every four that compute.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 4).clamp(1, 4) {
            let inbox = inbox.clone();
            let thread = std::thread::Builder::new().name(format!("engine-masks-{number}"));
            if let Err(error) = thread.spawn(move || work(&inbox)) {
                tracing::error!("no thread for masks: {error}");
            }
        }
        Self { jobs: Mutex::new(jobs) }
    }

    pub(super) fn jobs(&self) -> Sender<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is heard of a mask that nobody computes.
pub(super) fn gone() -> ConstraintError {
    ConstraintError::new("the threads that follow constraints have ended")
}

fn work(inbox: &Mutex<Receiver<Job>>) {
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { matcher, reply }) = job else { return };
        // Who is gone needs no mask.
        let _ = reply.send(Prepared::of(matcher));
    }
}
