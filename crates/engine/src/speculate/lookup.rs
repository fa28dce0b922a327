//! Drafts by prompt lookup: what followed the last tokens before, in the prompt or in the answer.

use std::collections::HashMap;

use super::{DraftKind, Drafter};
use crate::sched::SequenceId;

/// The numbers of last tokens that are looked for, the most first: a longer match is a better guess.
const MATCHED: [usize; 2] = [4, 2];
/// The fewest places of a sequence's table.
const FEWEST_PLACES: usize = 1 << 9;
/// The most places: 256 KiB a sequence. A longer text overwrites what it had before.
const MOST_PLACES: usize = 1 << 16;

/// Looks for the last tokens of each sequence in its own text.
#[derive(Debug, Default)]
pub(super) struct Lookup(HashMap<SequenceId, Index>);

impl Drafter for Lookup {
    fn kind(&self) -> DraftKind {
        DraftKind::Lookup
    }

    fn can_draft(&mut self, id: SequenceId, tokens: &[u32]) -> bool {
        self.0.entry(id).or_default().find(tokens)
    }

    fn draft(&mut self, id: SequenceId, tokens: &[u32], count: usize, draft: &mut Vec<u32>) {
        if let Some(from) = self.0.get(&id).and_then(|index| index.found) {
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
        self.0.remove(&id);
    }
}

/// Where groups of tokens ended last in a sequence's text.
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
    /// Looks for the last tokens. Takes constant time for each token that is new.
    fn find(&mut self, tokens: &[u32]) -> bool {
        let wanted = (2 * MATCHED.len() * tokens.len()).next_power_of_two();
        let wanted = wanted.clamp(FEWEST_PLACES, MOST_PLACES);
        if self.after.len() < wanted {
            // Twice as many as needed, so that the table of a growing text is seldom built again.
            self.after = vec![0; (2 * wanted).min(MOST_PLACES)];
            self.indexed = 0;
        }
        for next in self.indexed.max(1)..tokens.len() {
            for group in groups_before(tokens, next) {
                let place = place_of(group, self.after.len());
                self.after[place] = next as u32;
            }
        }
        self.indexed = tokens.len();
        self.found = groups_before(tokens, tokens.len()).find_map(|group| {
            let next = self.after[place_of(group, self.after.len())] as usize;
            (next >= group.len() && &tokens[next - group.len()..next] == group).then_some(next)
        });
        self.found.is_some()
    }
}

/// Returns the groups that end before `end`, the longest first.
fn groups_before(tokens: &[u32], end: usize) -> impl Iterator<Item = &[u32]> {
    MATCHED.iter().filter_map(move |len| Some(&tokens[end.checked_sub(*len)?..end]))
}

/// Returns the place of a group in a table with that many places, a power of two.
fn place_of(group: &[u32], places: usize) -> usize {
    // FNV-1a by words, and a multiplication whose high bits depend on all of them.
    let hash = group.iter().fold(0xcbf2_9ce4_8422_2325 ^ group.len() as u64, |hash, token| {
        (hash ^ u64::from(*token)).wrapping_mul(0x100_0000_01b3)
    });
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (places - 1)
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
        let mut lookup = Lookup::default();
        assert_eq!(drafted(&mut lookup, &[5], 4), []);
        assert_eq!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5], 4), []);
        assert_eq!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5, 6], 3), [7, 8, 9]);
        // Two tokens and nothing more: the latest place counts.
        assert_eq!(drafted(&mut lookup, &[5, 6, 7, 8, 9, 5, 6, 1, 5, 6], 2), [1, 5]);
        // Four tokens that match go before two.
        let text = [1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4];
        assert_eq!(drafted(&mut Lookup::default(), &text, 2), [50, 9]);
    }

    #[test]
    fn a_text_that_repeats_itself_is_continued_beyond_its_end() {
        let text = [7, 1, 2, 3, 1, 2, 3, 1, 2];
        let draft = drafted(&mut Lookup::default(), &text, 8);
        assert_eq!(draft, [3, 1, 2, 3, 1, 2, 3, 1]);
    }

    /// Compares with a search through the whole text, while the text grows beyond the first table.
    #[test]
    fn the_table_finds_what_a_search_finds() {
        let mut random = StdRng::seed_from_u64(1);
        let (mut lookup, mut text) = (Lookup::default(), Vec::new());
        let mut found = 0;
        for _ in 0..3_000 {
            text.push(random.random_range(0..40));
            let searched = MATCHED.iter().find_map(|len| {
                let begin = text.len().checked_sub(*len)?;
                let ends = (*len..text.len()).rev();
                ends.into_iter().find(|end| text[end - len..*end] == text[begin..])
            });
            let draft = drafted(&mut lookup, &text, 1);
            // Groups that share a place hide one another: some are not found, but none is wrong.
            if let Some(next) = searched.filter(|_| !draft.is_empty()) {
                found += 1;
                let at_longer = draft[0] == text[next];
                let last_two = &text[text.len() - 2..];
                let at_shorter = text.windows(3).any(|w| &w[..2] == last_two && w[2] == draft[0]);
                assert!(at_longer || at_shorter);
            }
            assert!(searched.is_some() || draft.is_empty());
        }
        assert!(found > 1_500, "{found}");
        let places = lookup.0[&ID].after.len();
        assert!(places <= MOST_PLACES && places >= 4_096, "{places}");
        lookup.forget(ID);
        assert!(lookup.0.is_empty());
    }
}
