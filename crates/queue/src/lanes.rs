//! Decides the order in which a claim searches the lanes.

use protocol::Lane;
use protocol::Lane::{Batch, High, Low, Normal};

/// The lane of each turn. If all lanes have tasks, their shares are the weights of the lanes: of 16
/// turns, high gets 10, normal 4, low 1, batch 1. So a task of the least urgent lane waits for at
/// most 16 claims per task ahead of it in its lane.
const TURNS: [Lane; 16] = [
    High, High, High, Normal, High, High, Normal, Low, //
    High, High, High, Normal, High, High, Normal, Batch,
];

/// Returns the lane that the `turn`-th claim searches first. A turn ends when a task is claimed.
pub(crate) fn first(turn: u64) -> Lane {
    TURNS[(turn % TURNS.len() as u64) as usize]
}

/// Returns the lanes in the order in which the `turn`-th claim searches them: the lane whose turn
/// it is, then the others, most urgent first.
pub(crate) fn order(turn: u64) -> [Lane; 4] {
    let first = first(turn);
    let mut order = Lane::ALL;
    // A stable sort, so the other lanes keep their order of urgency.
    order.sort_by_key(|lane| *lane != first);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_have_fixed_turn_shares_and_every_order_has_all_lanes() {
        let firsts: Vec<_> = (0..16).map(|turn| order(turn)[0]).collect();
        let share = |lane| firsts.iter().filter(|first| **first == lane).count();
        assert_eq!(Lane::ALL.map(share), [10, 4, 1, 1]);
        assert_eq!(order(0), Lane::ALL);
        assert_eq!(order(15), [Batch, High, Normal, Low]);
        assert_eq!(order(16), order(0));
    }
}
