//! Which lane a claim looks into first.

use protocol::Lane;
use protocol::Lane::{Batch, High, Low, Normal};

/// Who goes first, turn by turn. The shares are the weights of the lanes when all are busy: of 16
/// turns high gets 10, normal 4, low 1, batch 1. So the wait of the least urgent task is bounded by
/// 16 claims for each one ahead of it in its own lane.
const TURNS: [Lane; 16] = [
    High, High, High, Normal, High, High, Normal, Low, //
    High, High, High, Normal, High, High, Normal, Batch,
];

/// The lane that the `turn`-th claim looks into first. A turn passes when a task was claimed.
pub(crate) fn first(turn: u64) -> Lane {
    TURNS[(turn % TURNS.len() as u64) as usize]
}

/// The lanes in the order in which the `turn`-th claim looks into them: the lane whose turn it is,
/// then the rest, most urgent first.
pub(crate) fn order(turn: u64) -> [Lane; 4] {
    let first = first(turn);
    let mut order = Lane::ALL;
    // Stable, so the others keep their order of urgency.
    order.sort_by_key(|lane| *lane != first);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_its_turn_and_every_order_has_every_lane() {
        let firsts: Vec<_> = (0..16).map(|turn| order(turn)[0]).collect();
        let share = |lane| firsts.iter().filter(|first| **first == lane).count();
        assert_eq!(Lane::ALL.map(share), [10, 4, 1, 1]);
        assert_eq!(order(0), Lane::ALL);
        assert_eq!(order(15), [Batch, High, Normal, Low]);
        assert_eq!(order(16), order(0));
    }
}
