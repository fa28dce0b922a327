//! The ids of spans that several processes refer to: they derive from the task and the attempt.

use protocol::{Attempt, SpanId, TaskId};

/// What a span of an attempt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The wait before it.
    Wait,
    /// The attempt.
    Attempt,
    /// A step of it, by its place.
    Step(u8),
}

/// Returns the id of a span, which is the same in every process. Within a trace, equal ids are as unlikely as those of
/// random numbers.
pub(super) fn span_id(task: TaskId, attempt: Attempt, about: About) -> SpanId {
    let about = match about {
        About::Wait => 0,
        About::Attempt => 1,
        About::Step(place) => 2 + u64::from(place),
    };
    let (high, low) = task.as_uuid().as_u64_pair();
    let mut id = mixed(high);
    for part in [low, u64::from(attempt.get()), about] {
        id = mixed(id ^ part);
    }
    SpanId::new(id).or(SpanId::new(1)).expect("1 is not 0")
}

/// Mixes the bits of a number: a step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_by_task_attempt_and_part_and_are_repeatable() {
        let tasks: Vec<TaskId> = (0..100).map(|_| TaskId::new()).collect();
        let all = || {
            tasks.iter().flat_map(|task| {
                (0..20).flat_map(move |attempt| {
                    let parts = [About::Wait, About::Attempt, About::Step(0), About::Step(1)];
                    parts.map(|about| span_id(*task, Attempt::new(attempt), about).get())
                })
            })
        };
        let distinct: HashSet<u64> = all().collect();
        assert_eq!(distinct.len(), 100 * 20 * 4);
        assert!(all().all(|id| distinct.contains(&id)));
    }
}
