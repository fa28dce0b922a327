//! Decides which model to load next, and which to unload for it. Pure.

use std::time::Duration;

/// A model is idle if no task waits for it and its last task ended longer ago than this. The pause
/// keeps a model loaded for a client that sends its next request right after an answer.
const IDLE: Duration = Duration::from_secs(1);

/// The state of one model.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Memory that it takes while it is loaded, in bytes.
    pub(super) need: usize,
    pub(super) stage: Stage,
    /// The time for which its tasks have waited while it was not in memory; `None` if no task
    /// waits.
    pub(super) waiting: Option<Duration>,
}

/// The residency of a model.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Not in memory.
    Out,
    /// Being loaded or unloaded.
    Moving,
    /// In memory.
    In {
        /// Time since it was loaded.
        age: Duration,
        /// Time since it last had running or waiting tasks.
        unused: Duration,
        /// The minimum time that it stays in memory while it has tasks.
        turn: Duration,
    },
}

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Do nothing now.
    Wait,
    /// Load this model, for which there is room.
    Load(usize),
    /// Unload these models, to make room for the one that waits.
    Unload(Vec<usize>),
}

/// Returns the next action, so that every model with tasks gets its turn, one action at a time:
///
/// - The model whose tasks have waited longest comes first. Others may be loaded before it into
///   room that it cannot use, but not after it has waited for `turn`.
/// - Idle models are unloaded first, the longest unused before the others.
/// - A model with tasks is unloaded too, after its own turn and once the other has waited for
///   `turn`; it finishes its running tasks first. The longest loaded goes first.
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
        if let Some(leaving) = models_to_unload(need - free, models, waiting >= turn) {
            return Step::Unload(leaving);
        }
        if waiting >= turn {
            break;
        }
    }
    Step::Wait
}

/// Returns the models to unload to free `missing` bytes, or `None` if that is not possible now.
fn models_to_unload(missing: usize, models: &[View], even_at_work: bool) -> Option<Vec<usize>> {
    // (index, has tasks, time since it was loaded or, if idle, since it was last used)
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
    // A later model may be large enough to make an earlier one unnecessary. The best to keep are
    // kept first.
    for place in leaving.clone().into_iter().rev() {
        if made - models[place].need >= missing {
            made -= models[place].need;
            leaving.retain(|other| *other != place);
        }
    }
    Some(leaving)
}

#[cfg(test)]
mod tests;
