use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::api::StopReason;
use crate::kv::{PAGE_TOKENS, PageAllocator};

fn sequence(id: u64, prompt: usize, max_tokens: usize) -> Sequence {
    Sequence::new(SequenceId(id), vec![0; prompt], max_tokens, CancelFlag::default(), None)
}

fn scheduler(max_batch: usize, step_tokens: usize, pages: usize) -> Scheduler {
    Scheduler::new(Limits { max_batch, step_tokens }, PageAllocator::new(pages))
}

/// Computes and samples what the plan says; ends who is full.
fn run(scheduler: &mut Scheduler, plan: &StepPlan) {
    for chunk in &plan.chunks {
        scheduler.mark_computed(chunk);
        if chunk.samples && scheduler.append(chunk.id, 1) {
            scheduler.remove(chunk.id);
        }
    }
}

fn chunk(id: u64, start: usize, len: usize, samples: bool) -> Chunk {
    Chunk { id: SequenceId(id), start, len, samples }
}

#[test]
fn a_prompt_is_computed_in_chunks_then_token_by_token() {
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
fn decodes_come_before_prompts_and_prompts_in_order_of_arrival() {
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
fn admission_waits_for_room_and_keeps_the_order() {
    let mut scheduler = scheduler(8, 512, 4);
    scheduler.add(sequence(1, 3 * PAGE_TOKENS, 1));
    scheduler.add(sequence(2, 2 * PAGE_TOKENS, 1));
    scheduler.add(sequence(3, 1, 1));
    let plan = scheduler.schedule(Instant::now());
    // 3 would fit, but 2 came first.
    assert_eq!(plan.admitted, [SequenceId(1)]);
    run(&mut scheduler, &plan);
    let plan = scheduler.schedule(Instant::now());
    assert_eq!(plan.admitted, [SequenceId(2), SequenceId(3)]);
}

#[test]
fn no_more_run_than_the_batch_holds() {
    let mut scheduler = scheduler(2, 512, 100);
    for id in 0..5 {
        scheduler.add(sequence(id, 4, 4));
    }
    assert_eq!(scheduler.schedule(Instant::now()).chunks.len(), 2);
    assert_eq!((scheduler.num_running(), scheduler.num_waiting()), (2, 3));
}

#[test]
fn cancelled_and_overdue_sequences_end_before_the_step_and_free_their_pages() {
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

/// Any load: the budget holds, everybody is computed without gaps, everybody ends, no page leaks.
#[test]
fn every_sequence_ends_and_no_page_leaks() {
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..200 {
        let limits = Limits {
            max_batch: random.random_range(1..9),
            step_tokens: random.random_range(1..200),
        };
        let pages = PageAllocator::new(20);
        let mut scheduler = Scheduler::new(limits, pages.clone());
        let budget = limits.step_tokens.max(limits.max_batch + PAGE_TOKENS);
        let total = random.random_range(1..30);
        let (mut computed, mut generated) = (HashMap::new(), HashMap::new());
        let mut wanted = HashMap::new();
        for id in 0..total {
            let (prompt, answer) = (random.random_range(1..500), random.random_range(1..60));
            wanted.insert(SequenceId(id), (prompt, answer));
            scheduler.add(sequence(id, prompt, answer));
        }
        let mut admitted = Vec::new();
        let mut steps = 0;
        while !scheduler.is_idle() {
            let plan = scheduler.schedule(Instant::now());
            assert!(!plan.chunks.is_empty(), "a step without work");
            assert!(plan.chunks.len() <= limits.max_batch);
            assert!(plan.chunks.iter().map(|chunk| chunk.len).sum::<usize>() <= budget);
            admitted.extend(plan.admitted.clone());
            for chunk in &plan.chunks {
                let computed = computed.entry(chunk.id).or_insert(0);
                assert_eq!(chunk.start, *computed, "a gap");
                *computed += chunk.len;
                *generated.entry(chunk.id).or_insert(0) += usize::from(chunk.samples);
            }
            run(&mut scheduler, &plan);
            steps += 1;
            assert!(steps < 100_000, "it does not end");
        }
        assert!(admitted.is_sorted() && admitted.len() == total as usize);
        for (id, (prompt, answer)) in wanted {
            assert_eq!(generated[&id], answer);
            assert_eq!(computed[&id], prompt + answer - 1);
        }
        assert_eq!(pages.free_pages(), pages.total_pages());
    }
}
