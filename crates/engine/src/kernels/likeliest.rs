//! The argmax of a row of logits.

use super::simd::{Lanes, Level, dispatch};

/// Logits per block: the largest of a block is found before the block is searched. A multiple of
/// every level's vector length and of a mask word's 32 bits.
pub(crate) const BLOCK: usize = 512;

/// Returns the index of the largest logit, the first of equal ones. Returns `None` if no logit is
/// above minus infinity. NaN counts as minus infinity.
pub(crate) fn likeliest(logits: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (block, logits) in logits.chunks(BLOCK).enumerate() {
        let most = largest_of(logits);
        if most > best.map_or(f32::NEG_INFINITY, |(_, best)| best) {
            best = Some((block, most));
        }
    }
    let (block, most) = best?;
    let start = block * BLOCK;
    let place = logits[start..].iter().position(|logit| *logit == most)?;
    Some(start + place)
}

/// Returns the largest number of a block, or minus infinity if all are NaN.
pub(crate) fn largest_of(logits: &[f32]) -> f32 {
    let mut most = f32::NEG_INFINITY;
    largest_on(Level::best_for(&[logits.len()]), logits, &mut most);
    most
}

dispatch!(fn largest_on = largest_kernel(logits: &[f32], most: &mut f32));
#[inline(always)]
unsafe fn largest_kernel<L: Lanes>(logits: &[f32], most: &mut f32) {
    assert!(logits.len().is_multiple_of(L::N));
    // SAFETY: loads are of `N` numbers at multiples of `N` below the length.
    unsafe {
        // Four independent chains, since a comparison takes several cycles.
        let mut largest = [L::splat(f32::NEG_INFINITY); 4];
        for (index, at) in (0..logits.len()).step_by(L::N).enumerate() {
            let chain = &mut largest[index % 4];
            // `max` returns its second operand unless the first is larger, so NaN is never kept.
            *chain = L::load(logits.as_ptr().add(at)).max(*chain);
        }
        let [a, b, c, d] = largest;
        *most = a.max(b).max(c.max(d)).largest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scalar twin.
    fn one_by_one(logits: &[f32]) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for (place, logit) in logits.iter().enumerate() {
            if *logit > best.map_or(f32::NEG_INFINITY, |(_, best)| best) {
                best = Some((place, *logit));
            }
        }
        best.map(|(place, _)| place)
    }

    #[test]
    fn argmax_returns_the_first_of_equal_maxima() {
        for len in [0, 1, 15, 16, 64, BLOCK, BLOCK + 7, 5 * BLOCK + 40] {
            // Few different values, so that many are equal.
            let logits: Vec<f32> = (0..len).map(|n| ((n * 7_919) % 13) as f32 - 6.0).collect();
            assert_eq!(likeliest(&logits), one_by_one(&logits), "{len}");
            for place in 0..len {
                let mut logits = logits.clone();
                logits[place] = 9.0;
                assert_eq!(likeliest(&logits), Some(place));
            }
        }
    }

    #[test]
    fn argmax_never_returns_nan_on_any_simd_level() {
        let (nan, less) = (f32::NAN, f32::NEG_INFINITY);
        let extremes = [nan, -nan, less, f32::INFINITY, f32::MIN, f32::MAX, 0.0, -0.0, 1e-45];
        for filler in extremes {
            for one in extremes {
                for place in [0, 3, 17, 31, 63] {
                    let mut logits = vec![filler; 64];
                    logits[place] = one;
                    assert_eq!(likeliest(&logits), one_by_one(&logits), "{one} in {filler}");
                    let twin = one_by_one(&logits).map_or(less, |place| logits[place]);
                    for level in Level::all_for(64) {
                        let mut most = 7.0;
                        largest_on(level, &logits, &mut most);
                        assert_eq!(most, twin, "{level:?}: {one} in {filler}");
                    }
                }
            }
        }
    }
}
