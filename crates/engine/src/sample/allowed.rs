//! The set of tokens that may come next.

/// The set of tokens that may come next, as a bit mask: token `t` is bit `t % 32` of word `t / 32`. Tokens
/// beyond the last word are not allowed.
#[derive(Debug, Clone, Copy)]
pub struct AllowedTokens<'a>(&'a [u32]);

impl<'a> AllowedTokens<'a> {
    /// Creates the set of the tokens whose bits are set in `words`.
    pub fn new(words: &'a [u32]) -> Self {
        Self(words)
    }

    /// Whether a token may come next.
    pub fn contains(self, token: u32) -> bool {
        let word = self.0.get(token as usize / 32);
        word.is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Returns the allowed tokens in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.within(0, usize::MAX)
    }

    /// Returns the allowed tokens among the `len` tokens from `start` on, in ascending order. Both must be
    /// multiples of 32, unless `len` reaches beyond the last token.
    pub(super) fn within(self, start: usize, len: usize) -> impl Iterator<Item = u32> + 'a {
        let words = self.words_within(start, len);
        (start as u32..).step_by(32).zip(words).flat_map(|(first, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }

    /// Whether [`Self::within`] would return any token. Cheaper than calling it.
    pub(super) fn has_any_within(self, start: usize, len: usize) -> bool {
        self.words_within(start, len).iter().any(|word| *word != 0)
    }

    fn words_within(self, start: usize, len: usize) -> &'a [u32] {
        let first = (start / 32).min(self.0.len());
        &self.0[first..first + (len / 32).min(self.0.len() - first)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_mask_bit_allows_one_token() {
        let words = [1 | 1 << 31, 0, 1 << 5];
        let allowed = AllowedTokens::new(&words);
        assert_eq!(allowed.iter().collect::<Vec<_>>(), [0, 31, 69]);
        let contained: Vec<u32> = (0..200).filter(|token| allowed.contains(*token)).collect();
        assert_eq!(contained, [0, 31, 69]);
        assert_eq!(AllowedTokens::new(&[]).iter().count(), 0);
        let within = |start, len| allowed.within(start, len).collect::<Vec<_>>();
        assert_eq!(
            (within(0, 32), within(32, 64), within(64, 512)),
            (vec![0, 31], vec![69], vec![69])
        );
        let has_any = |start, len| allowed.has_any_within(start, len);
        assert!(has_any(0, 32) && has_any(32, 64) && has_any(64, 512));
        assert!(!has_any(32, 32) && !has_any(96, 32) && !has_any(512, 512));
        assert!(within(96, 32).is_empty() && within(512, 512).is_empty());
    }
}
