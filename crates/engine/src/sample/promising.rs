//! Scans the logits of a large vocabulary for those above a rising bound.

use super::allowed::AllowedTokens;
use crate::kernels::likeliest::{BLOCK, largest_of};

/// Calls `take` with each allowed token whose logit is above the value that `take` returned last, in
/// ascending order of the tokens. Blocks without such a logit are skipped, which are most of a large
/// vocabulary. `logits` is `[vocab]`.
pub(super) fn for_each_above_threshold(
    logits: &[f32],
    allowed: Option<AllowedTokens<'_>>,
    mut take: impl FnMut(u32, f32) -> f32,
) {
    let mut least = f32::NEG_INFINITY;
    for (block, logits) in logits.chunks(BLOCK).enumerate() {
        let start = block * BLOCK;
        // A grammar often allows only a few tokens, and a block has 32 times fewer mask words than logits.
        let has_no_allowed_token =
            allowed.is_some_and(|allowed| !allowed.has_any_within(start, BLOCK));
        if has_no_allowed_token || largest_of(logits) <= least {
            continue;
        }
        let mut offer = |token: u32, logit: f32| {
            // False for NaN.
            if logit > least {
                least = take(token, logit);
            }
        };
        match allowed {
            None => (start as u32..).zip(logits).for_each(|(token, logit)| offer(token, *logit)),
            Some(allowed) => {
                for token in allowed.within(start, BLOCK) {
                    if let Some(logit) = logits.get(token as usize - start) {
                        offer(token, *logit);
                    }
                }
            }
        }
    }
}
