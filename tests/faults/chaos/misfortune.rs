//! What breaks, when, and for how long.

use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::{LEASE, Victim, WORKERS};

/// Time between two misfortunes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1200));
/// How long something stays broken: some shorter than a lease, some longer.
const SPANS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(3500));
/// How many things are broken at once, at most.
const AT_ONCE: usize = 3;

/// A part of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Worker(usize),
    Gateway(usize),
    Redis,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misfortune {
    /// `kill -9`; repaired by starting it again.
    Kill,
    /// SIGSTOP; repaired by SIGCONT.
    Freeze,
    /// SIGTERM; repaired by starting it again.
    Stop,
    /// Its way to Redis is dead.
    Cut,
}

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) worker_kills: usize,
    pub(super) gateway_kills: usize,
    pub(super) redis_kills: usize,
    pub(super) freezes: usize,
    pub(super) stops: usize,
    pub(super) cuts: usize,
}

/// The misfortunes of a run.
pub(super) struct Schedule {
    dice: Dice,
    broken: Vec<(Part, Misfortune, Instant)>,
    tally: Tally,
    next: Instant,
}

impl Schedule {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice, broken: Vec::new(), tally: Tally::default(), next: Instant::now() }
    }

    /// Repairs what is due and breaks something if it is time to.
    pub(super) fn go_on(&mut self, victim: &mut Victim) {
        thread::sleep(Duration::from_millis(10)); // the clock's tick
        let now = Instant::now();
        let is_due = |(_, _, until): &mut (Part, Misfortune, Instant)| *until <= now;
        let due: Vec<_> = self.broken.extract_if(.., is_due).collect();
        for (part, misfortune, _) in due {
            repair(victim, part, misfortune);
        }
        if now >= self.next {
            // All dice are thrown whether used or not: so the seed alone decides what comes later.
            let (part, misfortune) = (self.part(), self.dice.below(4));
            let span = self.dice.span(SPANS.0, SPANS.1);
            self.next = now + self.dice.span(PAUSES.0, PAUSES.1);
            let is_whole = self.broken.iter().all(|(broken, ..)| *broken != part);
            if is_whole && self.broken.len() < AT_ONCE {
                let misfortune = fitting(part, misfortune);
                strike(victim, part, misfortune);
                self.count(part, misfortune);
                self.broken.push((part, misfortune, Instant::now() + span));
            }
        }
    }

    /// Repairs everything; what has happened in all.
    pub(super) fn heal_all(mut self, victim: &mut Victim) -> Tally {
        for (part, misfortune, _) in std::mem::take(&mut self.broken) {
            repair(victim, part, misfortune);
        }
        self.tally
    }

    fn part(&mut self) -> Part {
        match self.dice.below(10) {
            0..6 => Part::Worker(self.dice.below(WORKERS)),
            6..8 => Part::Gateway(self.dice.below(2)),
            _ => Part::Redis,
        }
    }

    fn count(&mut self, part: Part, misfortune: Misfortune) {
        let tally = &mut self.tally;
        *match (part, misfortune) {
            (Part::Worker(_), Misfortune::Kill) => &mut tally.worker_kills,
            (Part::Gateway(_), Misfortune::Kill) => &mut tally.gateway_kills,
            (Part::Redis, Misfortune::Kill) => &mut tally.redis_kills,
            (_, Misfortune::Freeze) => &mut tally.freezes,
            (_, Misfortune::Stop) => &mut tally.stops,
            (_, Misfortune::Cut) => &mut tally.cuts,
        } += 1;
    }
}

/// Only workers have a line to cut; Redis is not asked to stop, since its end is the same as a kill's.
fn fitting(part: Part, thrown: usize) -> Misfortune {
    let all = [Misfortune::Kill, Misfortune::Freeze, Misfortune::Stop, Misfortune::Cut];
    match (part, all[thrown]) {
        (Part::Worker(_), any) => any,
        (Part::Gateway(_), Misfortune::Cut) => Misfortune::Kill,
        (Part::Gateway(_), any) => any,
        (Part::Redis, Misfortune::Freeze) => Misfortune::Freeze,
        (Part::Redis, _) => Misfortune::Kill,
    }
}

fn strike(victim: &mut Victim, part: Part, misfortune: Misfortune) {
    match (part, misfortune) {
        (Part::Redis, Misfortune::Kill) => victim.system.redis.kill(),
        (Part::Redis, _) => victim.system.redis.signal("STOP"),
        (Part::Worker(n), Misfortune::Cut) => victim.lines[n].cut(),
        (_, Misfortune::Kill) => node(victim, part).kill_9(),
        (_, Misfortune::Freeze) => node(victim, part).process().signal("STOP"),
        (_, Misfortune::Stop | Misfortune::Cut) => node(victim, part).process().signal("TERM"),
    }
}

fn repair(victim: &mut Victim, part: Part, misfortune: Misfortune) {
    match (part, misfortune) {
        (Part::Redis, Misfortune::Kill) => victim.system.redis.restart(),
        (Part::Redis, _) => victim.system.redis.signal("CONT"),
        (Part::Worker(n), Misfortune::Cut) => victim.lines[n].heal(),
        (_, Misfortune::Freeze) => node(victim, part).process().signal("CONT"),
        (_, Misfortune::Stop) => {
            node(victim, part).wait_for_end(20 * LEASE);
            node(victim, part).start();
        }
        (_, Misfortune::Kill | Misfortune::Cut) => node(victim, part).start(),
    }
}

fn node(victim: &mut Victim, part: Part) -> &mut harness::system::Node {
    match part {
        Part::Worker(n) => &mut victim.system.workers[n],
        Part::Gateway(0) => &mut victim.system.gateway,
        Part::Gateway(_) => &mut victim.second_gateway,
        Part::Redis => unreachable!("Redis is no node"),
    }
}
