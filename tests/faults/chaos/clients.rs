//! Clients that submit, cancel and poll tasks during chaos.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::client::Client;
use harness::wait_for;
use serde_json::{Value, json};

use super::rng::Rng;
use crate::watching::Witness;

/// The number of clients.
const CLIENTS: usize = 4;
/// The shortest and longest pause between two steps of a client. It may submit at every fourth
/// step.
const STEP_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(60));
/// A client with this many open tasks does not submit.
const OPEN: usize = 40;
/// One of this many tasks is cancelled.
const CANCEL_ONE_IN: usize = 8;
/// Tasks are submitted in groups, so that faults hit busy workers: this many at a time, in one of
/// `BURST_ONE_IN` steps in which a client may submit.
const BURST: usize = 8;
const BURST_ONE_IN: usize = 6;

/// The running clients.
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<(Witness, usize)>>,
    goal: usize,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Starts clients of both gateways, which run until [`Load::stop`].
    pub(super) fn start(ports: [u16; 2], goal: usize, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let begin = Witness::new();
        let client = |n: usize| {
            let (shared, witness) = (shared.clone(), begin.another());
            let rng = Rng::new(seed.wrapping_add(1 + n as u64));
            thread::spawn(move || work(ports.map(Client::new), &shared, witness, rng))
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { shared, threads, goal }
    }

    /// Waits until the required number of tasks was accepted.
    pub(super) fn wait_for_tasks(&self) {
        wait_for("enough tasks", Duration::from_secs(120), || {
            (self.shared.accepted.load(Ordering::Relaxed) >= self.goal).then_some(())
        });
    }

    /// Stops the clients. Returns their observations, and the number of cancels without a response.
    pub(super) fn stop(self) -> (Witness, usize) {
        self.shared.over.store(true, Ordering::Relaxed);
        let seen = self.threads.into_iter().map(|thread| thread.join().expect("a client"));
        let add = |(mut all, sum): (Witness, usize), (one, unsure): (Witness, usize)| {
            all.merge_history(one);
            (all, sum + unsure)
        };
        seen.reduce(add).expect("some clients")
    }
}

/// The loop of one client.
fn work(
    gateways: [Client; 2],
    shared: &Shared,
    mut witness: Witness,
    mut rng: Rng,
) -> (Witness, usize) {
    let (mut open, mut unsure, mut step) = (Vec::<String>::new(), 0, 0_usize);
    while !shared.over.load(Ordering::Relaxed) {
        thread::sleep(rng.span(STEP_PAUSES.0, STEP_PAUSES.1));
        step += 1;
        let gateway = &gateways[rng.below(2)];
        if step.is_multiple_of(4) && open.len() < OPEN && rng.below(BURST_ONE_IN) == 0 {
            for _ in 0..BURST {
                let answer = gateway.try_post("/generate", &long_answer_body(rng.below(1000)));
                let Some(answer) = answer.filter(|answer| answer.status == 202) else { break };
                let task = answer.body["task_id"].as_str().expect("a task_id").to_owned();
                witness.history.accepted.push(task.clone());
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                if rng.below(CANCEL_ONE_IN) == 0 {
                    let answer = gateway.try_post(&format!("/cancel/{task}"), &json!({}));
                    unsure += usize::from(answer.is_none_or(|answer| answer.status >= 500));
                }
                open.push(task);
            }
        } else if !open.is_empty() {
            let place = rng.below(open.len());
            if witness.look(gateway, &open[place]) {
                open.swap_remove(place);
            }
        }
    }
    (witness, unsure)
}

/// A body whose answer has some tens to hundreds of tokens.
fn long_answer_body(seed: usize) -> Value {
    json!({"prompt": "What is a lease?", "temperature": 2.0, "seed": seed, "max_tokens": 400})
}
