//! Drafts by prompt lookup: what followed the last tokens before, in the prompt or in the answer.

use std::collections::HashMap;

use super::{DraftKind, Drafter};
use crate::sched::SequenceId;

/// The numbers of last tokens that are looked for, each by a drafter of its own: a longer match is a better guess, and a
/// shorter one is more often found.
pub(super) const MATCHED: [usize; 2] = [4, 2];
/// The fewest places of a sequence's table.
const FEWEST_PLACES: usize = 1 << 9;
/// The most places: 256 KiB. A longer text overwrites what it had before.
const MOST_PLACES: usize = 1 << 16;

/// Looks for the last tokens of each sequence in its own text.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The number of last tokens.
    matched: usize,
    sequences: HashMap<SequenceId, Index>,
}

impl Lookup {
    /// Creates a drafter that looks for so many last tokens.
    pub(super) fn new(matched: usize) -> Self {
        Self { matched, sequences: HashMap::new() }
    }
}

impl Drafter for Lookup {
    fn kind(&self) -> DraftKind {
        DraftKind::Lookup
    }

    fn can_draft(&mut self, id: SequenceId, tokens: &[u32]) -> bool {
        self.sequences.entry(id).or_default().find(tokens, self.matched)
    }

    fn draft(&mut self, id: SequenceId, tokens: &[u32], count: usize, draft: &mut Vec<u32>) {
        if let Some(from) = self.sequences.get(&id).and_then(|index| index.found) {
            // The text may repeat itself: what follows its end is the draft.
            let first = draft.len();
            for place in from..from + count {
                let own = || draft.get(first + place - tokens.len()).copied();
                draft.extend(tokens.get(place).copied().or_else(own));
            }
        }
    }

    fn seconds_per_token(&self) -> f64 {
        0.0
    }

    fn forget(&mut self, id: SequenceId) {
        self.sequences.remove(&id);
    }
}

/// Where groups of so many tokens ended last in a sequence's text.
#[derive(Debug, Default)]
struct Index {
    /// By hash, the index of the token after a group, or 0. Groups may share a place: their tokens are compared.
    after: Vec<u32>,
    /// The number of tokens of which all groups are in the table, if another token follows them.
    indexed: usize,
    /// The index of the token that followed the last tokens before.
    found: Option<usize>,
}

impl Index {
    /// Looks for the last `matched` tokens. Takes constant time for each token that is new.
    fn find(&mut self, tokens: &[u32], matched: usize) -> bool {
        let wanted = (4 * tokens.len()).next_power_of_two().clamp(FEWEST_PLACES, MOST_PLACES);
        if self.after.len() < wanted {
            // Twice as many as needed, so that the table of a growing text is seldom built again.
            self.after = vec![0; (2 * wanted).min(MOST_PLACES)];
            self.indexed = 0;
        }
        let places = self.after.len();
        for next in self.indexed.max(matched)..tokens.len() {
            self.after[place_of(&tokens[next - matched..next], places)] = next as u32;
        }
        self.indexed = tokens.len();
        self.found = tokens.len().checked_sub(matched).and_then(|begin| {
            let last = &tokens[begin..];
            let next = self.after[place_of(last, places)] as usize;
            (next >= matched && &tokens[next - matched..next] == last).then_some(next)
        });
        self.found.is_some()
    }
}

/// Returns the place of a group in a table with that many places, a power of two.
fn place_of(group: &[u32], places: usize) -> usize {
    // The steps of SplitMix64's finalizer, which mix every bit of each token.
    let hash = group.iter().fold(0_u64, |hash, token| {
        let mixed = (hash ^ u64::from(*token)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 32)
    });
    hash as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const ID: SequenceId = SequenceId(0);

    fn drafted(lookup: &mut Lookup, tokens: &[u32], count: usize) -> Vec<u32> {
        let mut draft = Vec::new();
        if lookup.can_draft(ID, tokens) {
            lookup.draft(ID, tokens, count, &mut draft);
        }
        draft
    }

    #[test]
    fn what_followed_the_last_tokens_is_drafted() {
        let mut lookup = Lookup::new(2);
        assert!(drafted(&mut lookup, &[5], 4).is_empty());
        assert!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5], 4).is_empty());
        assert_eq!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5, 6], 3), [7, 8, 9]);
        // The latest place counts.
        assert_eq!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5, 6, 1, 5, 6], 2), [1, 5]);
        let text = [1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4];
        assert_eq!(drafted(&mut Lookup::new(2), &text, 2), [60, 1]);
        assert_eq!(drafted(&mut Lookup::new(4), &text, 2), [50, 9]);
        assert!(drafted(&mut Lookup::new(4), &text[..12], 2).is_empty());
    }

    #[test]
    fn a_text_that_repeats_itself_is_continued_beyond_its_end() {
        let text = [7, 1, 2, 3, 1, 2, 3, 1, 2];
        assert_eq!(drafted(&mut Lookup::new(4), &text, 8), [3, 1, 2, 3, 1, 2, 3, 1]);
    }

    /// Compares with a search through the whole text, while the text grows beyond the first table.
    #[test]
    fn the_table_finds_what_a_search_finds() {
        for matched in MATCHED {
            let mut random = StdRng::seed_from_u64(1);
            let (mut lookup, mut text) = (Lookup::new(matched), Vec::new());
            let (mut found, mut hidden) = (0, 0);
            for _ in 0..3_000 {
                text.push(random.random_range(0..if matched == 2 { 40 } else { 6 }));
                let begin = text.len().saturating_sub(matched);
                let mut ends = (matched..text.len()).rev();
                let searched = ends.find(|end| text[end - matched..*end] == text[begin..]);
                let draft = drafted(&mut lookup, &text, 1);
                match searched {
                    // Groups that share a place hide one another: few are not found, and none is wrong.
                    Some(_) if draft.is_empty() => hidden += 1,
                    Some(next) => {
                        assert_eq!(draft[0], text[next]);
                        found += 1;
                    }
                    None => assert!(draft.is_empty()),
                }
            }
            assert!(found > 1_000 && 4 * hidden < found, "{matched}: {found} {hidden}");
            let places = lookup.sequences[&ID].after.len();
            assert!((6_000..=MOST_PLACES).contains(&places), "{places}");
            lookup.forget(ID);
            assert!(lookup.sequences.is_empty());
        }
    }
}
