//! Draws answers from masks: any token that may come next, with a bias to come to an end.

use rand::Rng;
use rand::rngs::StdRng;

/// Draws the next token from those that are allowed; `text_of` spells them, `None` ends the answer.
/// The longer the answer is, the more it wants to end.
pub(crate) fn draw<'v>(
    allowed: &[u32],
    text_of: impl Fn(u32) -> Option<&'v [u8]>,
    so_far: usize,
    random: &mut StdRng,
) -> u32 {
    // Within a string nearly all may come next, and what ends it may have to come in the right place.
    let most = if allowed.len() > 60 { 5.0 } else { 300.0 };
    let closing_bias = (so_far as f64 / 60.0).min(most);
    // Within a number, what follows it ends it too: without this, one whose zeros may go on has no end.
    let in_number = allowed.iter().any(|token| matches!(text_of(*token), Some([b'0'..=b'9', ..])));
    let weight = |token: &u32| match text_of(*token) {
        None => 0.5 + closing_bias,
        Some([b'}' | b']', ..]) => 1.0 + closing_bias,
        Some([b'"', ..]) => 3.0 + closing_bias,
        Some([b':' | b'n' | b't' | b'f', ..]) => 1.0 + closing_bias / 4.0,
        // Multiples of a power of ten end in zeros.
        Some([b'0', ..]) => 0.5 + closing_bias,
        Some([b',', ..]) if in_number => (1.0 + closing_bias) / 4.0,
        Some([b',' | b'[' | b'{', ..]) => 1.0 / (1.0 + closing_bias),
        Some([b' ' | b'\n' | b'\t' | b'\\', ..]) => 0.2 / (1.0 + closing_bias),
        Some([128..=255]) => 0.1,
        Some(_) => 0.5,
    };
    let total: f64 = allowed.iter().map(weight).sum();
    let mut left = random.random_range(0.0..total);
    for token in allowed {
        left -= weight(token);
        if left < 0.0 {
            return *token;
        }
    }
    allowed[allowed.len() - 1]
}
