//! The schedule of faults: what breaks, when, and for how long.

use std::thread;
use std::time::{Duration, Instant};

use super::rng::Rng;
use super::{ChaosSystem, LEASE, WORKERS};

/// The shortest and longest time between two faults.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1200));
/// The shortest and longest duration of a fault: some are shorter than a lease, some longer.
const SPANS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(3500));
/// The most faults at a time.
const AT_ONCE: usize = 3;

/// A part of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Worker(usize),
    Gateway(usize),
    Redis,
}

/// A fault of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`; repaired by a restart.
    Kill,
    /// SIGSTOP; repaired by SIGCONT.
    Freeze,
    /// SIGTERM; repaired by a restart.
    Stop,
    /// The connection to Redis is cut; repaired by healing it.
    Cut,
}

/// The number of faults so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) worker_kills: usize,
    pub(super) gateway_kills: usize,
    pub(super) redis_kills: usize,
    pub(super) freezes: usize,
    pub(super) stops: usize,
    pub(super) cuts: usize,
}

/// The faults of a run.
pub(super) struct Schedule {
    rng: Rng,
    broken: Vec<(Part, Fault, Instant)>,
    tally: Tally,
    next: Instant,
}

impl Schedule {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, broken: Vec::new(), tally: Tally::default(), next: Instant::now() }
    }

    /// Repairs what is due, and breaks something if it is time.
    pub(super) fn advance(&mut self, chaos: &mut ChaosSystem) {
        thread::sleep(Duration::from_millis(10)); // the resolution of the schedule
        let now = Instant::now();
        let is_due = |(_, _, until): &mut (Part, Fault, Instant)| *until <= now;
        let due: Vec<_> = self.broken.extract_if(.., is_due).collect();
        for (part, fault, _) in due {
            repair(chaos, part, fault);
        }
        if now >= self.next {
            // Draws all random numbers whether used or not, so that the sequence depends only on
            // the seed.
            let (part, fault) = (self.part(), self.rng.below(4));
            let span = self.rng.span(SPANS.0, SPANS.1);
            self.next = now + self.rng.span(PAUSES.0, PAUSES.1);
            let is_whole = self.broken.iter().all(|(broken, ..)| *broken != part);
            if is_whole && self.broken.len() < AT_ONCE {
                let fault = fitting(part, fault);
                break_part(chaos, part, fault);
                self.count(part, fault);
                self.broken.push((part, fault, Instant::now() + span));
            }
        }
    }

    /// Repairs everything and returns the number of faults.
    pub(super) fn heal_all(mut self, chaos: &mut ChaosSystem) -> Tally {
        for (part, fault, _) in std::mem::take(&mut self.broken) {
            repair(chaos, part, fault);
        }
        self.tally
    }

    fn part(&mut self) -> Part {
        match self.rng.below(10) {
            0..6 => Part::Worker(self.rng.below(WORKERS)),
            6..8 => Part::Gateway(self.rng.below(2)),
            _ => Part::Redis,
        }
    }

    fn count(&mut self, part: Part, fault: Fault) {
        let tally = &mut self.tally;
        *match (part, fault) {
            (Part::Worker(_), Fault::Kill) => &mut tally.worker_kills,
            (Part::Gateway(_), Fault::Kill) => &mut tally.gateway_kills,
            (Part::Redis, Fault::Kill) => &mut tally.redis_kills,
            (_, Fault::Freeze) => &mut tally.freezes,
            (_, Fault::Stop) => &mut tally.stops,
            (_, Fault::Cut) => &mut tally.cuts,
        } += 1;
    }
}

/// Maps a random number to a fault that the part can have. Only workers have a proxy that can be
/// cut. Redis is not stopped by SIGTERM, which has the same effect as killing it.
fn fitting(part: Part, thrown: usize) -> Fault {
    let all = [Fault::Kill, Fault::Freeze, Fault::Stop, Fault::Cut];
    match (part, all[thrown]) {
        (Part::Worker(_), any) => any,
        (Part::Gateway(_), Fault::Cut) => Fault::Kill,
        (Part::Gateway(_), any) => any,
        (Part::Redis, Fault::Freeze) => Fault::Freeze,
        (Part::Redis, _) => Fault::Kill,
    }
}

fn break_part(chaos: &mut ChaosSystem, part: Part, fault: Fault) {
    match (part, fault) {
        (Part::Redis, Fault::Kill) => chaos.system.redis.kill(),
        (Part::Redis, _) => chaos.system.redis.signal("STOP"),
        (Part::Worker(n), Fault::Cut) => chaos.lines[n].cut(),
        (_, Fault::Kill) => node(chaos, part).kill_9(),
        (_, Fault::Freeze) => node(chaos, part).process().signal("STOP"),
        (_, Fault::Stop | Fault::Cut) => node(chaos, part).process().signal("TERM"),
    }
}

fn repair(chaos: &mut ChaosSystem, part: Part, fault: Fault) {
    match (part, fault) {
        (Part::Redis, Fault::Kill) => chaos.system.redis.restart(),
        (Part::Redis, _) => chaos.system.redis.signal("CONT"),
        (Part::Worker(n), Fault::Cut) => chaos.lines[n].heal(),
        (_, Fault::Freeze) => node(chaos, part).process().signal("CONT"),
        (_, Fault::Stop) => {
            node(chaos, part).wait_for_end(20 * LEASE);
            node(chaos, part).start();
        }
        (_, Fault::Kill | Fault::Cut) => node(chaos, part).start(),
    }
}

fn node(chaos: &mut ChaosSystem, part: Part) -> &mut harness::system::Node {
    match part {
        Part::Worker(n) => &mut chaos.system.workers[n],
        Part::Gateway(0) => &mut chaos.system.gateway,
        Part::Gateway(_) => &mut chaos.second_gateway,
        Part::Redis => unreachable!("Redis is no node"),
    }
}
