//! Which model comes into memory next, and which goes for it. Pure.

use std::time::Duration;

/// A model whose last task ended longer ago than this, and has none that wait, is idle. A client that asks
/// again as soon as it has its answer keeps its model at work.
const IDLE: Duration = Duration::from_secs(1);

/// What is known of a model.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Bytes that it takes while it is in memory.
    pub(super) need: usize,
    /// Where it is.
    pub(super) stage: Stage,
    /// How long its tasks have waited while it was not there to run them; none if none wait.
    pub(super) waiting: Option<Duration>,
}

/// Where a model is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Not in memory.
    Out,
    /// On its way in or out.
    Moving,
    /// In memory.
    In {
        /// For how long.
        age: Duration,
        /// How long ago it last had work: tasks that ran, or waited.
        unused: Duration,
        /// How long it may stay at least while it has work.
        turn: Duration,
    },
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for the moment.
    Wait,
    /// Load this one: there is room.
    Load(usize),
    /// Let these go, to make room for the one that waits.
    Unload(Vec<usize>),
}

/// What to do next so that every model with tasks has its turn, one move at a time:
///
/// - The model whose tasks have waited for longest comes first. Others may be loaded before it into
///   room that it can't use, but not once it has waited for `turn`.
/// - Idle models make room, those first that have been unused for longest.
/// - A model that has work makes room too, once it had its own turn and the other has waited for `turn`; it ends
///   what it runs first. Those first that have been there for longest.
pub(super) fn next(models: &[View], budget: usize, turn: Duration) -> Step {
    if models.iter().any(|model| matches!(model.stage, Stage::Moving)) {
        return Step::Wait;
    }
    let held = |model: &View| if matches!(model.stage, Stage::In { .. }) { model.need } else { 0 };
    let used = models.iter().map(held).fold(0, usize::saturating_add);
    let free = budget.saturating_sub(used);
    let mut wanted: Vec<(usize, Duration)> = models
        .iter()
        .enumerate()
        .filter(|(_, model)| matches!(model.stage, Stage::Out))
        .filter_map(|(place, model)| Some((place, model.waiting?)))
        .collect();
    wanted.sort_by_key(|(_, waiting)| std::cmp::Reverse(*waiting));
    for (place, waiting) in wanted {
        let need = models[place].need;
        if need <= free {
            return Step::Load(place);
        }
        if let Some(leaving) = room_for(need - free, models, waiting >= turn) {
            return Step::Unload(leaving);
        }
        if waiting >= turn {
            break;
        }
    }
    Step::Wait
}

/// Who goes so that so many bytes are free; none if that is not to be had now.
fn room_for(missing: usize, models: &[View], even_at_work: bool) -> Option<Vec<usize>> {
    // (at work, how long it is left alone by whoever wants its place)
    let mut order: Vec<(usize, bool, Duration)> = models
        .iter()
        .enumerate()
        .filter_map(|(place, model)| match model.stage {
            Stage::In { unused, .. } if unused >= IDLE => Some((place, false, unused)),
            Stage::In { age, turn, .. } if even_at_work && age >= turn => Some((place, true, age)),
            _ => None,
        })
        .collect();
    order.sort_by_key(|(_, at_work, since)| (*at_work, std::cmp::Reverse(*since)));
    let mut leaving: Vec<usize> = Vec::new();
    let mut made = 0_usize;
    for (place, ..) in order {
        if made >= missing {
            break;
        }
        made = made.saturating_add(models[place].need);
        leaving.push(place);
    }
    if made < missing {
        return None;
    }
    // A later one may be large enough to spare an earlier; those that should stay are spared first.
    for place in leaving.clone().into_iter().rev() {
        if made - models[place].need >= missing {
            made -= models[place].need;
            leaving.retain(|other| *other != place);
        }
    }
    Some(leaving)
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
