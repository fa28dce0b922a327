//! Tests the bounds of `docs/ENGINE.md` (How a step's budget is shared), in steps.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::*;
use crate::kv::{PAGE_TOKENS, PageAllocator};

/// The engine's default.
const STEP: usize = 512;
const LONG: usize = 16_000;
/// Lanes as the worker maps them.
const BATCH: u8 = 0;
const NORMAL: u8 = 2;
const HIGH: u8 = 3;

/// A scheduler whose plans are executed, and the history of each sequence.
struct Load {
    scheduler: Scheduler,
    pages: PageAllocator,
    steps: usize,
    lives: BTreeMap<u64, Life>,
}

/// The steps in which events first happened to a sequence.
#[derive(Debug, Clone, Copy)]
struct Life {
    added: usize,
    admitted: Option<usize>,
    first_token: Option<usize>,
    ended: Option<usize>,
}

impl Life {
    /// Returns the number of steps from its submit through the one that sampled its first token.
    fn steps_to_first_token(self) -> usize {
        self.first_token.expect("it drew a token") - self.added
    }
}

impl Load {
    fn new(max_batch: usize, step_tokens: usize, pages: usize) -> Self {
        let pages = PageAllocator::new(pages);
        let scheduler = Scheduler::new(Limits { max_batch, step_tokens }, pages.clone());
        Self { scheduler, pages, steps: 0, lives: BTreeMap::new() }
    }

    /// Creates a load with room for everything.
    fn roomy(max_batch: usize) -> Self {
        Self::new(max_batch, STEP, 10_000)
    }

    /// Submits a prompt that shares no prefix with another.
    fn add(&mut self, priority: u8, prompt: usize, answer: usize) -> u64 {
        let id = self.lives.len() as u64;
        self.add_tokens(priority, vec![id as u32 + 2; prompt], answer)
    }

    fn add_tokens(&mut self, priority: u8, prompt: Vec<u32>, answer: usize) -> u64 {
        let id = self.lives.len() as u64;
        let sequence = Sequence::new(SequenceId(id), prompt, answer, CancelFlag::default(), None);
        self.scheduler.add(sequence.with_priority(priority));
        let life = Life { added: self.steps, admitted: None, first_token: None, ended: None };
        self.lives.insert(id, life);
        id
    }

    fn step(&mut self) -> StepPlan {
        let plan = self.scheduler.schedule(Instant::now());
        self.steps += 1;
        let now = self.steps;
        for id in &plan.admitted {
            self.life(id.0).admitted.get_or_insert(now);
        }
        for chunk in &plan.chunks {
            self.scheduler.mark_computed(chunk);
            if chunk.samples {
                self.life(chunk.id.0).first_token.get_or_insert(now);
                if self.scheduler.append(chunk.id, 1) {
                    self.scheduler.remove(chunk.id);
                    self.life(chunk.id.0).ended = Some(now);
                }
            }
        }
        plan
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn life(&mut self, id: u64) -> &mut Life {
        self.lives.get_mut(&id).expect("it was added")
    }

    /// Runs until the sequence has its first token, with clients that each have one request in flight: a prompt
    /// and an answer with lengths drawn from the ranges.
    fn beside_clients(
        &mut self,
        id: u64,
        clients: usize,
        priority: u8,
        prompts: std::ops::RangeInclusive<usize>,
        answers: std::ops::RangeInclusive<usize>,
    ) -> Vec<Life> {
        let mut random = StdRng::seed_from_u64(7);
        let mut in_flight: Vec<u64> = Vec::new();
        let mut all = Vec::new();
        while self.life(id).first_token.is_none() {
            in_flight.retain(|one| self.lives[one].ended.is_none());
            while in_flight.len() < clients {
                let prompt = random.random_range(prompts.clone());
                let answer = random.random_range(answers.clone());
                in_flight.push(self.add(priority, prompt, answer));
                all.extend(in_flight.last().copied());
            }
            self.step();
            assert!(self.steps < 10_000, "it starves");
        }
        self.steps(3);
        // The last ones were submitted when the long prompt finished.
        all.iter().map(|one| self.lives[one]).filter(|life| life.first_token.is_some()).collect()
    }
}

/// Returns the number of steps until the first token of a prompt of that many tokens, alone.
fn alone(prompt: usize) -> usize {
    let mut load = Load::roomy(16);
    let id = load.add(NORMAL, prompt, 1);
    while load.life(id).first_token.is_none() {
        load.step();
    }
    load.lives[&id].steps_to_first_token()
}

#[test]
fn a_short_prompt_beside_a_long_one_starts_in_its_admission_step() {
    assert_eq!(alone(LONG), 32);
    for (long, short) in [(NORMAL, NORMAL), (BATCH, HIGH), (HIGH, BATCH), (HIGH, HIGH)] {
        for arrives_after in [0, 1, 13, 30] {
            let mut load = Load::roomy(16);
            let slow = load.add(long, LONG, 1);
            load.steps(arrives_after);
            let quick = load.add(short, 2, 4);
            load.steps(60);
            let (slow, quick) = (load.lives[&slow], load.lives[&quick]);
            assert_eq!(quick.steps_to_first_token(), 1, "{long} {short} {arrives_after}");
            assert!(slow.steps_to_first_token() <= 33, "{slow:?}");
        }
    }
}

/// The load in the documentation: 15 clients whose prompts are at most twice as long as their answers.
#[test]
fn short_prompts_start_within_three_steps_and_slow_a_long_one_by_a_tenth() {
    for (prompts, answers) in
        [(2..=2, 1..=1), (2..=2, 4..=4), (2..=30, 16..=64), (20..=50, 30..=100)]
    {
        for priority in [BATCH, NORMAL, HIGH] {
            let mut load = Load::roomy(16);
            let slow = load.add(NORMAL, LONG, 1);
            let quick = load.beside_clients(slow, 15, priority, prompts.clone(), answers.clone());
            assert!(quick.len() >= 15);
            let worst = quick.iter().copied().map(Life::steps_to_first_token).max().unwrap();
            let slow = load.lives[&slow].steps_to_first_token();
            println!("{prompts:?} {answers:?} {priority}: {worst} steps, {slow} for the long one");
            assert!(worst <= 3, "{prompts:?} {answers:?} {priority}: {worst} steps");
            assert!(slow as f64 <= 1.1 * alone(LONG) as f64, "{prompts:?} {answers:?}: {slow}");
        }
    }
}

#[test]
fn floods_leave_a_long_prompt_half_the_budget_or_an_eighth_if_urgent() {
    // Each step brings 15 prompts that would fill it alone.
    for (long, flood, share) in [(NORMAL, NORMAL, 2), (HIGH, BATCH, 2), (BATCH, HIGH, 8), (0, 1, 8)]
    {
        let mut load = Load::roomy(16);
        let slow = load.add(long, LONG, 1);
        load.beside_clients(slow, 15, flood, 100..=200, 1..=1);
        let slow = load.lives[&slow].steps_to_first_token();
        println!("{long} beside {flood}: {slow} steps");
        assert!(slow <= LONG.div_ceil((STEP - 15) / share), "{long} {flood}: {slow}");
    }
}

#[test]
fn urgent_prompts_get_seven_eighths_of_the_budget_and_equal_ones_half() {
    for (long, other, steps) in [(BATCH, HIGH, 9), (BATCH, BATCH, 16), (NORMAL, NORMAL, 16)] {
        let mut load = Load::roomy(16);
        load.add(long, LONG, 1);
        load.steps(1);
        let other = load.add(other, 4_000, 1);
        load.steps(40);
        assert_eq!(load.lives[&other].steps_to_first_token(), steps);
    }
}

#[test]
fn prompts_of_similar_length_are_prefilled_one_after_the_other() {
    for (first, second) in [(LONG, LONG - 1_000), (LONG, LONG), (1_000, 1_000), (700, 1_023)] {
        let mut load = Load::roomy(16);
        let ids = [load.add(NORMAL, first, 1), load.add(NORMAL, second, 1)];
        load.steps(100);
        let ends = ids.map(|id| load.lives[&id].steps_to_first_token());
        assert_eq!(ends, [first.div_ceil(STEP), (first + second).div_ceil(STEP)]);
    }
}

/// A long prompt waits for pages that a running answer holds.
fn load_with_waiting_long_prompt(max_batch: usize) -> (Load, u64) {
    let mut load = Load::new(max_batch, STEP, 600);
    load.add(NORMAL, 3_200, 9_000); // holds 100 pages and more
    load.step();
    let long = load.add(NORMAL, LONG, 1);
    load.step();
    assert_eq!(load.life(long).admitted, None);
    (load, long)
}

#[test]
fn short_prompts_overtake_a_long_one_that_waits_for_pages() {
    for (priority, prompt, answer) in [(NORMAL, 2, 4), (HIGH, 1_000, 10), (BATCH, 30, 1)] {
        let (mut load, long) = load_with_waiting_long_prompt(16);
        let short = load.add(priority, prompt, answer);
        load.steps(3);
        assert_eq!(load.life(short).admitted, Some(3));
        assert_eq!(load.life(long).admitted, None);
    }
    // A prompt that is not shorter waits behind it.
    let (mut load, long) = load_with_waiting_long_prompt(16);
    let other = load.add(NORMAL, LONG, 1);
    load.steps(3);
    assert_eq!((load.life(long).admitted, load.life(other).admitted), (None, None));
}

#[test]
fn a_waiting_long_prompt_is_overtaken_at_most_max_batch_times() {
    for max_batch in [2, 5, 16] {
        let (mut load, long) = load_with_waiting_long_prompt(max_batch);
        let mut passed = 0;
        for _ in 0..20_000 {
            while load.scheduler.num_waiting() < 4 {
                load.add(HIGH, 2, 3);
            }
            let plan = load.step();
            if load.life(long).admitted.is_some() {
                break;
            }
            passed += plan.admitted.iter().filter(|id| id.0 > long).count();
        }
        assert!(load.life(long).admitted.is_some(), "it starves");
        assert_eq!(passed, max_batch);
    }
}

#[test]
fn preempted_sequences_resume_before_new_ones_are_admitted() {
    let mut load = Load::new(4, STEP, 40);
    for _ in 0..3 {
        load.add(NORMAL, 1, 20 * PAGE_TOKENS);
    }
    let preempted = loop {
        if let Some(id) = load.step().preempted.first() {
            break id.0;
        }
    };
    for _ in 0..4 {
        load.add(NORMAL, 1, 20 * PAGE_TOKENS);
    }
    loop {
        let plan = load.step();
        if let Some(id) = plan.admitted.first() {
            assert_eq!(id.0, preempted);
            break;
        }
    }
}

/// If an urgent prompt shares the prefix of an older, less urgent one, that one is computed at the urgent one's
/// pace, and nothing is computed twice.
#[test]
fn a_shared_prefix_is_prefilled_at_the_priority_of_the_urgent_prompt() {
    let mut load = Load::roomy(16);
    load.add(NORMAL, 40_000, 1); // the oldest
    let shared: Vec<u32> = vec![1; 8_000];
    load.add_tokens(BATCH, [shared.clone(), vec![0; 8_000]].concat(), 1);
    load.steps(1);
    let urgent = load.add_tokens(HIGH, [shared, vec![9; 10]].concat(), 1);
    load.steps(22);
    // 8,000 tokens at half the budget beside the oldest, if it were more urgent; at seven eighths here.
    let life = load.lives[&urgent];
    assert!(life.first_token.is_some(), "{life:?}");
    let computed = load.scheduler.sequence(SequenceId(1)).unwrap().num_computed();
    assert!((8_000..9_000).contains(&computed), "{computed}");
}

/// Any load on any pages. `owed` is the documented bound for each running prompt; every step lowers it, unless an
/// older sequence is resumed.
#[test]
fn every_step_lowers_the_bound_of_each_running_prompt() {
    let mut random = StdRng::seed_from_u64(23);
    let (mut checked, mut preemptions, mut passes) = (0_u64, 0, 0);
    for round in 0..200 {
        let limits = Limits {
            max_batch: random.random_range(1..20),
            step_tokens: [64, 100, 512][random.random_range(0..3)],
        };
        let step_tokens = limits.step_tokens.max(limits.max_batch + PAGE_TOKENS);
        let share = ((step_tokens - limits.max_batch) / 8).max(1);
        let pages = random.random_range(60..300);
        let longest = (pages - 1) * PAGE_TOKENS;
        let mut load = Load::new(limits.max_batch, limits.step_tokens, pages);
        let total = random.random_range(5..60);
        let mut cancels = Vec::new();
        let mut owed: BTreeMap<u64, usize> = BTreeMap::new();
        let mut passed: BTreeMap<u64, usize> = BTreeMap::new();
        let mut waiting: Vec<u64> = Vec::new();
        loop {
            while load.lives.len() < total && random.random_bool(0.2) {
                let long = random.random_bool(0.2);
                let prompt = random.random_range(1..=if long { longest } else { 60 });
                let most = if random.random_bool(0.3) { 1_500 } else { 100 };
                let answer = random.random_range(1..=(longest + 1 - prompt).min(most));
                let alike =
                    if random.random_bool(0.3) { random.random_range(0..=prompt) } else { 0 };
                let id = load.lives.len() as u64;
                let tokens = [vec![0; alike], vec![id as u32 + 2; prompt - alike]].concat();
                let cancel = CancelFlag::default();
                let sequence = Sequence::new(SequenceId(id), tokens, answer, cancel.clone(), None)
                    .with_priority(random.random_range(0..4));
                load.scheduler.add(sequence);
                let added = load.steps;
                let life = Life { added, admitted: None, first_token: None, ended: None };
                load.lives.insert(id, life);
                cancels.push(cancel);
                waiting.push(id);
            }
            if load.scheduler.is_idle() && load.lives.len() == total {
                break;
            }
            if random.random_bool(0.01) && !cancels.is_empty() {
                cancels[random.random_range(0..cancels.len())].cancel();
            }
            let plan = load.step();
            assert!(plan.chunks.iter().map(|chunk| chunk.len).sum::<usize>() <= step_tokens);
            assert!(plan.chunks.len() <= limits.max_batch);
            assert!(load.scheduler.is_idle() || !plan.chunks.is_empty(), "a step without work");
            preemptions += plan.preempted.len();

            // Admission: at most a batch of younger sequences passes another.
            waiting.retain(|id| plan.ended.iter().all(|(ended, _)| ended.0 != *id));
            for id in &plan.admitted {
                waiting.retain(|other| *other != id.0);
                for older in waiting.iter().filter(|older| **older < id.0) {
                    let count = passed.entry(*older).or_default();
                    *count += 1;
                    passes += 1;
                    assert!(
                        *count <= limits.max_batch,
                        "round {round}: {older} is passed by too many"
                    );
                }
            }
            for id in &plan.preempted {
                waiting.push(id.0);
                passed.remove(&id.0);
            }

            // The budget: the bound of each running prompt falls.
            let mut now = BTreeMap::new();
            let mut sum = 0;
            for id in 0..load.lives.len() as u64 {
                if let Some(one) = load.scheduler.sequence(SequenceId(id)) {
                    let pending = one.tokens().len() - one.num_computed();
                    if pending > 1 {
                        sum += pending.div_ceil(share);
                        now.insert(id, sum);
                    }
                }
            }
            let disturbed = |id: u64| {
                let others = plan.admitted.iter().chain(&plan.preempted);
                others.into_iter().any(|other| other.0 <= id)
            };
            for (id, bound) in &now {
                if let Some(before) = owed.get(id).filter(|_| !disturbed(*id)) {
                    assert!(bound < before, "round {round}: {id} was owed {before}, now {bound}");
                    checked += 1;
                }
            }
            owed = now;
            assert!(load.steps < 100_000, "it does not end");
        }
        assert_eq!(load.pages.free_pages(), load.pages.total_pages());
    }
    println!("{checked} bounds, {preemptions} preemptions, {passes} passes");
    assert!(checked > 10_000 && preemptions > 50 && passes > 500);
}
