//! Drafted tokens: which are computed, which stay, and which pages others may find.

use super::*;

const NOW: fn() -> Instant = Instant::now;

/// Schedules a step with a draft for its only chunk, and computes it: the model's tokens are `sampled`. Returns how
/// many drafted tokens were computed and accepted.
fn step(scheduler: &mut Scheduler, draft: &[u32], sampled: &[u32]) -> (usize, usize) {
    let mut plan = scheduler.schedule(NOW());
    let [chunk] = &mut plan.chunks[..] else { panic!("{plan:?}") };
    if !draft.is_empty() {
        scheduler.add_draft(chunk, draft);
    }
    let chunk = *chunk;
    scheduler.mark_computed(&chunk);
    let mut accepted = 0;
    for token in sampled {
        scheduler.append(chunk.id, *token);
        if !scheduler.accept_drafted(chunk.id) {
            break;
        }
        accepted += 1;
    }
    (chunk.drafted, accepted)
}

/// Returns the number of a prompt's tokens that are found in pages.
fn cached(scheduler: &mut Scheduler, id: u64, prompt: &[u32]) -> usize {
    scheduler.add(reading(id, prompt.to_vec(), 1));
    let plan = scheduler.schedule(NOW());
    scheduler.remove(SequenceId(id));
    plan.cached.iter().filter(|(of, _)| *of == SequenceId(id)).map(|(_, tokens)| tokens).sum()
}

#[test]
fn accepted_tokens_are_computed_and_rejected_ones_are_forgotten() {
    let mut scheduler = scheduler(4, 100, 10);
    scheduler.add(reading(1, vec![7; 28], 50));
    assert_eq!(step(&mut scheduler, &[], &[0]), (0, 0));
    assert_eq!(step(&mut scheduler, &[1, 2, 3, 4, 5], &[1, 2, 9]), (5, 2));
    let sequence = scheduler.sequence(SequenceId(1)).unwrap();
    assert_eq!(sequence.tokens()[28..], [0, 1, 2, 9]);
    assert_eq!(sequence.num_computed(), 31);
    // The page holds a rejected token at its end, and nobody finds it.
    let with = |answer: &[u32]| [&[7; 28], answer, &[8; 9]].concat();
    assert_eq!(cached(&mut scheduler, 2, &with(&[0, 1, 2, 3])), 0);
    assert_eq!(cached(&mut scheduler, 3, &with(&[0, 1, 2, 9])), 0);
    // The next step overwrites it.
    assert_eq!(step(&mut scheduler, &[], &[6]), (0, 0));
    assert_eq!(cached(&mut scheduler, 4, &with(&[0, 1, 2, 3])), 0);
    assert_eq!(cached(&mut scheduler, 5, &with(&[0, 1, 2, 9])), 32);
}

#[test]
fn a_page_is_published_as_soon_as_accepted_tokens_fill_it() {
    let mut scheduler = scheduler(4, 100, 10);
    scheduler.add(reading(1, vec![7; 28], 50));
    step(&mut scheduler, &[], &[0]);
    assert_eq!(step(&mut scheduler, &[1, 2, 3, 4], &[1, 2, 3, 4, 5]), (4, 4));
    let prompt = [&[7; 28][..], &[0, 1, 2, 3, 4, 5, 6]].concat();
    assert_eq!(cached(&mut scheduler, 2, &prompt), 32);
    // All drafted tokens were accepted, so only the one that was sampled last remains.
    let plan = scheduler.schedule(NOW());
    assert_eq!(plan.chunks, [chunk(1, 33, 1, true)]);
}

#[test]
fn drafts_take_no_page_that_a_running_sequence_may_need() {
    // One page for the prompt and one for the answer, which the draft would take before.
    for (pages, drafted) in [(2, 0), (3, 4)] {
        let mut scheduler = scheduler(1, 100, pages);
        scheduler.add(reading(1, vec![7; 30], 20));
        step(&mut scheduler, &[], &[0]);
        assert_eq!(step(&mut scheduler, &[1, 2, 3, 4], &[9]), (drafted, 0), "{pages} pages");
        assert_eq!(step(&mut scheduler, &[], &[9]), (0, 0));
    }
}

#[test]
fn a_preempted_sequence_loses_its_draft() {
    let pages = PageAllocator::new(10);
    let mut one = reading(1, vec![7; 28], 50);
    one.start(pages.table());
    assert!(one.grow(28));
    one.plan(28, |_| ());
    assert_eq!(one.plan_draft(&[1, 2], 0), 2);
    assert_eq!(one.chunk().unwrap().drafted, 2);
    one.preempt();
    assert_eq!((one.draft(), one.most_drafted()), (&[][..], 49));
    one.append(1);
    assert!(!one.accept_drafted());
}
