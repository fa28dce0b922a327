use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::api::StopReason;
use crate::injected::{Injected, InjectedRows};
use crate::kv::{PAGE_TOKENS, PageAllocator};

mod drafts;
mod fairness;

/// Creates a prompt that shares no prefix with another.
fn sequence(id: u64, prompt: usize, max_tokens: usize) -> Sequence {
    reading(id, vec![id as u32; prompt], max_tokens)
}

fn reading(id: u64, prompt: Vec<u32>, max_tokens: usize) -> Sequence {
    Sequence::new(SequenceId(id), prompt, max_tokens, CancelFlag::default(), None)
}

fn scheduler(max_batch: usize, step_tokens: usize, pages: usize) -> Scheduler {
    Scheduler::new(Limits { max_batch, step_tokens }, PageAllocator::new(pages))
}

/// Executes the plan, and removes sequences that are complete.
fn run(scheduler: &mut Scheduler, plan: &StepPlan) {
    for chunk in &plan.chunks {
        scheduler.mark_computed(chunk);
        if chunk.samples && scheduler.append(chunk.id, 1) {
            scheduler.remove(chunk.id);
        }
    }
}

fn chunk(id: u64, start: usize, len: usize, samples: bool) -> Chunk {
    Chunk { id: SequenceId(id), start, len, samples, drafted: 0 }
}

#[test]
fn prompts_are_prefilled_in_chunks_then_decoded_token_by_token() {
    let mut scheduler = scheduler(2, 100, 100);
    scheduler.add(sequence(1, 250, 3));
    let now = Instant::now();
    let mut chunks = Vec::new();
    while !scheduler.is_idle() {
        let plan = scheduler.schedule(now);
        chunks.extend(plan.chunks.clone());
        run(&mut scheduler, &plan);
    }
    let expected = [
        chunk(1, 0, 100, false),
        chunk(1, 100, 100, false),
        chunk(1, 200, 50, true),
        chunk(1, 250, 1, true),
        chunk(1, 251, 1, true),
    ];
    assert_eq!(chunks, expected);
}

#[test]
fn decodes_precede_prefills_and_prefills_run_in_arrival_order() {
    let mut scheduler = scheduler(4, 64, 100);
    scheduler.add(sequence(1, 10, 50));
    let plan = scheduler.schedule(Instant::now());
    run(&mut scheduler, &plan);
    scheduler.add(sequence(2, 60, 5));
    scheduler.add(sequence(3, 60, 5));
    let plan = scheduler.schedule(Instant::now());
    assert_eq!(plan.chunks, [chunk(1, 10, 1, true), chunk(2, 0, 60, true), chunk(3, 0, 3, false)]);
}

#[test]
fn admission_waits_for_free_pages_and_takes_short_prompts_first() {
    let mut scheduler = scheduler(8, 512, 4);
    scheduler.add(sequence(1, 3 * PAGE_TOKENS, 1));
    scheduler.add(sequence(2, 2 * PAGE_TOKENS, 1));
    scheduler.add(sequence(3, 1, 1));
    let plan = scheduler.schedule(Instant::now());
    // 3 is short and fits. 2 is about as long as 1, which came first.
    assert_eq!(plan.admitted, [SequenceId(3), SequenceId(1)]);
    run(&mut scheduler, &plan);
    let plan = scheduler.schedule(Instant::now());
    assert_eq!(plan.admitted, [SequenceId(2)]);
}

#[test]
fn running_sequences_are_limited_to_max_batch() {
    let mut scheduler = scheduler(2, 512, 100);
    for id in 0..5 {
        scheduler.add(sequence(id, 4, 4));
    }
    assert_eq!(scheduler.schedule(Instant::now()).chunks.len(), 2);
    assert_eq!((scheduler.num_running(), scheduler.num_waiting()), (2, 3));
}

#[test]
fn cancelled_and_expired_sequences_free_their_pages_before_the_step() {
    let now = Instant::now();
    let pages = PageAllocator::new(100);
    let limits = Limits { max_batch: 2, step_tokens: 512 };
    let mut scheduler = Scheduler::new(limits, pages.clone());
    let cancel = CancelFlag::default();
    let later = now + Duration::from_secs(1);
    let with = |id, cancel: &CancelFlag, deadline| {
        Sequence::new(SequenceId(id), vec![0; 4], 9, cancel.clone(), deadline)
    };
    scheduler.add(with(1, &cancel, None));
    scheduler.add(with(2, &CancelFlag::default(), Some(later)));
    scheduler.add(with(3, &cancel, None)); // waits
    scheduler.add(with(4, &CancelFlag::default(), Some(later))); // waits
    assert_eq!(scheduler.schedule(now).chunks.len(), 2);
    cancel.cancel();
    let plan = scheduler.schedule(later);
    let mut ended = plan.ended;
    ended.sort_by_key(|(id, _)| *id);
    assert_eq!(
        ended,
        [
            (SequenceId(1), StopReason::Cancelled),
            (SequenceId(2), StopReason::Deadline),
            (SequenceId(3), StopReason::Cancelled),
            (SequenceId(4), StopReason::Deadline),
        ]
    );
    assert!(plan.chunks.is_empty() && scheduler.is_idle());
    assert_eq!(pages.free_pages(), pages.total_pages());
}

/// Runs to the end; returns (computed tokens, cached tokens, preemptions).
fn run_all(scheduler: &mut Scheduler) -> (usize, usize, usize) {
    let (mut computed, mut cached, mut preempted) = (0, 0, 0);
    while !scheduler.is_idle() {
        let plan = scheduler.schedule(Instant::now());
        assert!(!plan.chunks.is_empty(), "a step without work");
        computed += plan.chunks.iter().map(|chunk| chunk.len).sum::<usize>();
        cached += plan.cached.iter().map(|(_, tokens)| tokens).sum::<usize>();
        preempted += plan.preempted.len();
        run(scheduler, &plan);
    }
    (computed, cached, preempted)
}

#[test]
fn common_prefixes_are_computed_once_except_the_last_prompt_token() {
    let mut scheduler = scheduler(4, 512, 100);
    let prompt: Vec<u32> = (0..3 * PAGE_TOKENS as u32).collect();
    scheduler.add(reading(1, prompt.clone(), 1));
    assert_eq!(run_all(&mut scheduler), (96, 0, 0));
    // All three pages are cached, but the last one is computed for its last token.
    scheduler.add(reading(2, prompt.clone(), 1));
    assert_eq!(run_all(&mut scheduler), (32, 64, 0));
    let longer: Vec<u32> = prompt.iter().copied().chain([7]).collect();
    scheduler.add(reading(3, longer.clone(), 1));
    assert_eq!(run_all(&mut scheduler), (1, 96, 0));
    scheduler.add(reading(4, longer, 1).with_tenant("another"));
    assert_eq!(run_all(&mut scheduler), (97, 0, 0));
    let mut other = prompt;
    other[40] = 0;
    scheduler.add(reading(5, other, 1));
    assert_eq!(run_all(&mut scheduler), (64, 32, 0));
}

#[test]
fn concurrent_prompts_with_a_common_prefix_compute_it_once() {
    let mut scheduler = scheduler(50, 256, 1_000);
    let shared: Vec<u32> = (0..1_000).collect();
    for id in 0..100 {
        let prompt = shared.iter().copied().chain([id as u32, 1, 2]).collect();
        scheduler.add(reading(id, prompt, 20));
    }
    let (computed, cached, preempted) = run_all(&mut scheduler);
    // 31 pages have shared tokens only: each other sequence computes the remaining 8 of them, its own 3, and
    // 19 tokens of its answer.
    assert_eq!((computed, cached, preempted), (992 + 100 * (8 + 3 + 19), 99 * 992, 0));
}

#[test]
fn a_prompt_that_continues_an_answer_reuses_its_cached_pages() {
    let mut scheduler = scheduler(1, 512, 100);
    scheduler.add(sequence(0, 20, 80));
    run_all(&mut scheduler);
    let prompt = [vec![0; 20], vec![1; 80]].concat();
    scheduler.add(reading(1, prompt, 1));
    assert_eq!(run_all(&mut scheduler), (4, 96, 0));
}

#[test]
fn preemption_takes_the_newest_sequence_of_the_lowest_priority() {
    // Each is admitted with 9 pages expected (1 + 256 tokens), and grows to 20.
    let mut scheduler = scheduler(4, 512, 36);
    for (id, priority) in [(0, 0), (1, 2), (2, 1), (3, 1)] {
        scheduler.add(sequence(id, 1, 20 * PAGE_TOKENS).with_priority(priority));
    }
    let mut order = Vec::new();
    while !scheduler.is_idle() {
        let plan = scheduler.schedule(Instant::now());
        order.extend(plan.preempted.iter().map(|id| id.0));
        run(&mut scheduler, &plan);
    }
    // 0 has the lowest priority, but it is the oldest.
    assert_eq!(order[..2], [3, 2]);
    assert!(!order.contains(&0), "{order:?}");
}

#[test]
fn pages_of_discarded_sequences_are_not_cached() {
    let pages = PageAllocator::new(10);
    let mut scheduler = Scheduler::new(Limits { max_batch: 2, step_tokens: 512 }, pages.clone());
    scheduler.add(reading(0, vec![5; 100], 4));
    let plan = scheduler.schedule(Instant::now());
    scheduler.mark_computed(&plan.chunks[0]);
    scheduler.discard(SequenceId(0));
    assert_eq!((pages.free_pages(), pages.cached_pages()), (10, 0));
    scheduler.add(reading(1, vec![5; 100], 1));
    assert_eq!(run_all(&mut scheduler), (100, 0, 0));
}

#[test]
fn cancelling_half_of_a_hundred_frees_their_pages_within_one_step() {
    let pages = PageAllocator::new(1_000);
    let limits = Limits { max_batch: 100, step_tokens: 8_192 };
    let mut scheduler = Scheduler::new(limits, pages.clone());
    let cancel = CancelFlag::default();
    for id in 0..100 {
        let flag = if id % 2 == 0 { cancel.clone() } else { CancelFlag::default() };
        scheduler.add(Sequence::new(SequenceId(id), vec![id as u32; 64], 500, flag, None));
    }
    let plan = scheduler.schedule(Instant::now());
    run(&mut scheduler, &plan);
    assert_eq!((scheduler.num_running(), pages.free_pages()), (100, 800));
    cancel.cancel();
    let plan = scheduler.schedule(Instant::now());
    assert_eq!((plan.ended.len(), plan.chunks.len()), (50, 50));
    // Each of the remaining ones has started its third page.
    assert_eq!((scheduler.num_running(), pages.free_pages()), (50, 850));
}

/// The history of a sequence of [`every_sequence_ends_and_no_page_leaks`].
#[derive(Default)]
struct Life {
    prompt: usize,
    answer: usize,
    generated: usize,
    cached: usize,
    cancel: CancelFlag,
    deadline: Option<Instant>,
    ended: Option<Option<StopReason>>,
}

/// With any load of prompts that share prefixes or not, of several tenants and priorities, with cancels and
/// deadlines at any time: the budget holds, every sequence is computed without gaps and ends, cancelled or
/// overdue ones end before the next step, and no page leaks.
#[test]
fn every_sequence_ends_and_no_page_leaks() {
    let mut random = StdRng::seed_from_u64(11);
    let (mut preemptions, mut hits, mut cancels, mut overdue) = (0, 0, 0, 0);
    for _ in 0..300 {
        let limits = Limits {
            max_batch: random.random_range(1..9),
            step_tokens: random.random_range(1..200),
        };
        let pages = PageAllocator::new(random.random_range(20..50));
        let mut scheduler = Scheduler::new(limits, pages.clone());
        let budget = limits.step_tokens.max(limits.max_batch + PAGE_TOKENS);
        let total: u64 = random.random_range(1..30);
        let begin = Instant::now();
        let mut lives: Vec<Life> = Vec::new();
        for id in 0..total {
            let prompt = random.random_range(1..300);
            let answer = random.random_range(1..=(20 * PAGE_TOKENS + 1 - prompt));
            let alike = random.random_range(0..=prompt);
            let tokens = [vec![0; alike], vec![id as u32 + 2; prompt - alike]].concat();
            let overdue = random.random_bool(0.1);
            let deadline =
                overdue.then(|| begin + Duration::from_millis(random.random_range(1..2_000)));
            let life = Life { prompt, answer, deadline, ..Life::default() };
            let sequence =
                Sequence::new(SequenceId(id), tokens, answer, life.cancel.clone(), deadline)
                    .with_tenant(["a", "b"][random.random_range(0..2)])
                    .with_priority(random.random_range(0..3));
            lives.push(life);
            scheduler.add(sequence);
        }
        let mut steps = 0;
        while !scheduler.is_idle() {
            if random.random_bool(0.002) {
                lives[random.random_range(0..total as usize)].cancel.cancel();
            }
            let now = begin + Duration::from_millis(steps);
            let plan = scheduler.schedule(now);
            for (id, reason) in &plan.ended {
                let life = &mut lives[id.0 as usize];
                assert_eq!(life.ended.replace(Some(*reason)), None, "it ends once");
                cancels += usize::from(*reason == StopReason::Cancelled);
                overdue += usize::from(*reason == StopReason::Deadline);
            }
            for life in lives.iter().filter(|life| life.ended.is_none()) {
                let late = life.deadline.is_some_and(|deadline| deadline <= now);
                assert!(!late && !life.cancel.is_cancelled(), "it should have ended");
            }
            let oldest = lives.iter().position(|life| life.ended.is_none());
            assert!(oldest.is_none_or(|id| !plan.preempted.contains(&SequenceId(id as u64))));
            assert!(oldest.is_none() || !plan.chunks.is_empty(), "a step without work");
            assert!(plan.chunks.len() <= limits.max_batch);
            assert!(plan.chunks.iter().map(|chunk| chunk.len).sum::<usize>() <= budget);
            for (id, cached) in &plan.cached {
                lives[id.0 as usize].cached += cached;
                hits += 1;
            }
            preemptions += plan.preempted.len();
            let mut written = Vec::new();
            for chunk in &plan.chunks {
                let sequence = scheduler.sequence(chunk.id).unwrap();
                assert_eq!(chunk.start, sequence.num_computed(), "a gap");
                let table = sequence.pages().unwrap();
                assert!(chunk.start + chunk.len <= table.capacity());
                let (first, end) = (chunk.start, (chunk.start + chunk.len).div_ceil(PAGE_TOKENS));
                written.extend(&table.pages()[first / PAGE_TOKENS..end]);
                lives[chunk.id.0 as usize].generated += usize::from(chunk.samples);
            }
            // A page that is written belongs to no other sequence.
            for page in &written {
                let running = (0..total).filter_map(|id| scheduler.sequence(SequenceId(id)));
                let holders = running.filter(|one| one.pages().unwrap().pages().contains(page));
                assert_eq!(holders.count(), 1, "a shared page is written");
            }
            run(&mut scheduler, &plan);
            for (id, life) in lives.iter_mut().enumerate() {
                if life.ended.is_none() && life.generated == life.answer {
                    assert!(scheduler.sequence(SequenceId(id as u64)).is_none());
                    life.ended = Some(None);
                }
            }
            steps += 1;
            assert!(steps < 100_000, "it does not end");
        }
        for life in lives {
            assert!(life.ended.is_some() && life.cached < life.prompt);
        }
        assert_eq!(pages.free_pages(), pages.total_pages());
    }
    println!("{preemptions} preemptions, {hits} hits, {cancels} cancels, {overdue} overdue");
    assert!(preemptions > 50 && hits > 50 && cancels > 50 && overdue > 50);
}

/// The same placeholder tokens share pages only up to the first row of a different image.
#[test]
fn pages_with_injected_rows_are_shared_only_for_the_same_content() {
    let prompt: Vec<u32> = (0..4 * PAGE_TOKENS as u32 + 1).map(|n| n.min(40)).collect();
    // From the middle of the second page to the middle of the third.
    let placeholders = PAGE_TOKENS + 9..3 * PAGE_TOKENS - 5;
    let with_image = |id: u64, image: Option<u8>| {
        let rows = |image| InjectedRows {
            start: placeholders.start,
            positions: InjectedRows::consecutive_positions(placeholders.len()),
            values: vec![0.0; placeholders.len()].into(),
            added: [].into(),
            hash: [image; 32],
        };
        let rows = image.map(rows).into_iter().collect();
        let injected = Injected::new(rows, prompt.len(), 1, 0).unwrap();
        reading(id, prompt.clone(), 1).with_injected(injected)
    };
    let mut scheduler = scheduler(1, 1_000, 100);
    let mut cached = |id: u64, image: Option<u8>| {
        scheduler.add(with_image(id, image));
        let plan = scheduler.schedule(Instant::now());
        run(&mut scheduler, &plan);
        plan.cached.first().map_or(0, |(_, tokens)| *tokens)
    };
    assert_eq!(cached(1, Some(1)), 0);
    assert_eq!(cached(2, Some(1)), 4 * PAGE_TOKENS);
    assert_eq!(cached(3, Some(2)), PAGE_TOKENS, "another image");
    assert_eq!(cached(4, None), PAGE_TOKENS, "no image");
    assert_eq!(cached(5, Some(2)), 4 * PAGE_TOKENS);
}
