use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const TURN: Duration = Duration::from_secs(10);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn out(need: usize) -> View {
    View { need, stage: Stage::Out, waiting: None }
}

fn wanted(need: usize, waiting: u64) -> View {
    View { waiting: Some(s(waiting)), ..out(need) }
}

fn idle(need: usize, unused: u64) -> View {
    View { need, stage: Stage::In { age: s(1000), unused: s(unused), turn: TURN }, waiting: None }
}

fn at_work(need: usize, age: u64) -> View {
    View { need, stage: Stage::In { age: s(age), unused: s(0), turn: TURN }, waiting: None }
}

#[test]
fn model_with_waiting_tasks_is_loaded_if_it_fits() {
    assert_eq!(next(&[out(1), out(1)], 10, TURN), Step::Wait, "nobody wants them");
    assert_eq!(next(&[at_work(4, 1), wanted(6, 0)], 10, TURN), Step::Load(1));
    assert_eq!(next(&[wanted(6, 1), wanted(6, 2)], 10, TURN), Step::Load(1), "the longest wait");
    let moving = View { stage: Stage::Moving, ..out(1) };
    assert_eq!(next(&[moving, wanted(1, 99)], 10, TURN), Step::Wait, "one move at a time");
}

#[test]
fn least_recently_used_model_is_unloaded() {
    let models = [idle(4, 5), idle(4, 50), idle(2, 20), wanted(4, 0)];
    assert_eq!(next(&models, 10, TURN), Step::Unload(vec![1]));
    // Two small models would free enough, but one large model alone does too, so the others stay.
    let models = [idle(1, 90), idle(8, 50), wanted(8, 0)];
    assert_eq!(next(&models, 9, TURN), Step::Unload(vec![1]));
    // A model used a moment ago is not idle.
    assert_eq!(next(&[idle(10, 0), wanted(10, 5)], 10, TURN), Step::Wait);
}

#[test]
fn busy_model_is_unloaded_after_both_turns() {
    for (age, waiting, expected) in
        [(99, 9, Step::Wait), (9, 99, Step::Wait), (10, 10, Step::Unload(vec![0]))]
    {
        let models = [at_work(10, age), wanted(10, waiting)];
        assert_eq!(next(&models, 10, TURN), expected, "{age} {waiting}");
    }
    // Idle models are unloaded before those with tasks.
    let models = [at_work(5, 99), idle(5, 2), wanted(5, 99)];
    assert_eq!(next(&models, 10, TURN), Step::Unload(vec![1]));
}

#[test]
fn smaller_models_overtake_a_waiting_one_for_at_most_a_turn() {
    let models = [at_work(8, 1), wanted(9, 5), wanted(2, 1)];
    assert_eq!(next(&models, 10, TURN), Step::Load(2), "room that the first can't use");
    let models = [at_work(8, 1), wanted(9, 10), wanted(2, 1)];
    assert_eq!(next(&models, 10, TURN), Step::Wait);
}

/// Simulates random sets of models that always have tasks, with random load and task times. Checks
/// that each model gets its turn again and again, and that memory is never exceeded.
#[test]
fn every_model_gets_its_turn_within_memory_under_random_load() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let budget = 100;
        let count = random.random_range(2..6);
        let needs: Vec<usize> = (0..count).map(|_| random.random_range(1..=budget)).collect();
        let loads: Vec<u64> = (0..count).map(|_| random.random_range(0..20)).collect();
        let longest_task = random.random_range(0..30);
        // (load time; end of the load or unload in progress, and whether it is a load)
        let mut inside: Vec<Option<u64>> = vec![None; count];
        let mut moving: Vec<Option<(u64, bool)>> = vec![None; count];
        let mut waiting_since = vec![0_u64; count];
        let mut longest_wait = vec![0_u64; count];
        for now in 0..4000_u64 {
            for place in 0..count {
                if let Some((_, comes)) = moving[place].take_if(|(at, _)| *at <= now) {
                    inside[place] = comes.then_some(now);
                }
                if inside[place].is_none() {
                    longest_wait[place] = longest_wait[place].max(now - waiting_since[place]);
                }
            }
            let held: usize = (0..count)
                .filter(|place| inside[*place].is_some() || moving[*place].is_some())
                .map(|place| needs[place])
                .sum();
            assert!(held <= budget, "seed {seed} at {now}: {held}");
            let views: Vec<View> = (0..count)
                .map(|place| View {
                    need: needs[place],
                    stage: match (inside[place], moving[place]) {
                        (_, Some(_)) => Stage::Moving,
                        (Some(since), None) => Stage::In {
                            age: s(now - since),
                            unused: s(0),
                            turn: TURN.max(s(loads[place])),
                        },
                        (None, None) => Stage::Out,
                    },
                    waiting: inside[place].is_none().then(|| s(now - waiting_since[place])),
                })
                .collect();
            match next(&views, budget, TURN) {
                Step::Wait => {}
                Step::Load(place) => moving[place] = Some((now + loads[place].max(1), true)),
                Step::Unload(places) => {
                    for place in places {
                        let drained = now + 1 + random.random_range(0..=longest_task);
                        (inside[place], moving[place]) = (None, Some((drained, false)));
                        waiting_since[place] = now;
                    }
                }
            }
        }
        // Models that have waited longer come first. Each of them waits at most for the longest
        // turn, for the longest task of those unloaded, and for its own load. One more may have
        // been loaded just before.
        let slowest = loads.iter().copied().max().unwrap_or(0);
        let each = slowest.max(10) + longest_task + slowest + 4;
        let bound = (count as u64 + 1) * each;
        for (place, wait) in longest_wait.iter().enumerate() {
            assert!(*wait <= bound, "seed {seed}: {place} waited {wait} of {bound}");
        }
    }
}
