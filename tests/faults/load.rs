//! Clients that keep submitting while parts of the system fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::client::Client;
use harness::wait_for;

use crate::watching::{LONG, short};

/// The time between two submits of a client.
const PACE: Duration = Duration::from_millis(15);

/// The running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Submitted>>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    over: AtomicBool,
    pace: Duration,
}

/// The results of the submits.
#[derive(Default)]
pub(crate) struct Submitted {
    /// The ids of tasks that were accepted with 202.
    pub(crate) accepted: Vec<String>,
    /// The number of submits that got 503.
    pub(crate) refused: usize,
    /// The number of submits without a response, because the gateway was unreachable or died.
    pub(crate) unanswered: usize,
}

impl Load {
    /// Starts three clients that submit to the gateway on `port` until [`Load::stop`].
    pub(crate) fn start(port: u16) -> Self {
        Self::at_pace(port, PACE)
    }

    /// The same with another time between two submits of a client.
    pub(crate) fn at_pace(port: u16, pace: Duration) -> Self {
        let shared = Arc::new(Shared { pace, ..Shared::default() });
        let client = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.submit(&Client::new(port)))
        };
        let threads = (0..3).map(client).collect();
        Self { shared, threads }
    }

    /// Waits until `count` more submits were accepted.
    pub(crate) fn wait_for_more(&self, count: usize) {
        let accepted = || self.shared.accepted.load(Ordering::Relaxed);
        let goal = accepted() + count;
        wait_for("submits to go on", LONG, || (accepted() >= goal).then_some(()));
    }

    /// Stops the clients and returns the results.
    pub(crate) fn stop(self) -> Submitted {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = Submitted::default();
        for thread in self.threads {
            let one = thread.join().expect("a client");
            all.accepted.extend(one.accepted);
            all.refused += one.refused;
            all.unanswered += one.unanswered;
        }
        all
    }
}

impl Shared {
    fn submit(&self, client: &Client) -> Submitted {
        let mut seen = Submitted::default();
        while !self.over.load(Ordering::Relaxed) {
            match client.try_post("/generate", &short(seen.accepted.len())) {
                Some(answer) if answer.status == 202 => {
                    let task = answer.body["task_id"].as_str().expect("a task_id");
                    seen.accepted.push(task.to_owned());
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Some(answer) => {
                    // Only errors that may be retried are allowed.
                    assert_eq!(answer.status, 503, "{answer:?}");
                    assert!(answer.retry_after.is_some(), "{answer:?}");
                    seen.refused += 1;
                }
                None => seen.unanswered += 1,
            }
            thread::sleep(self.pace);
        }
        seen
    }
}
