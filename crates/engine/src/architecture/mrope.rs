//! M-RoPE: rotary embedding by positions in time, height and width, for models that see images.

use super::metadata::ModelMetadata;
use crate::error::LoadError;

/// The number of axes: time, height and width.
const AXES: usize = 3;

const KEY: &str = "rope.dimension_sections";

/// M-RoPE (Qwen2-VL, <https://arxiv.org/abs/2409.12191>): each pair of numbers of a head is rotated by the position
/// on one axis. The positions of a text are equal on all axes, so it is rotated as without M-RoPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mrope {
    /// The number of pairs that are rotated by time, height and width.
    pub sections: [usize; AXES],
    /// The order of the pairs.
    pub order: MropeOrder,
}

/// The order of the pairs of the three axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MropeOrder {
    /// Qwen2-VL: first all pairs of time, then those of height, then those of width.
    Contiguous,
    /// Qwen3-VL: time, height, width, time, … as long as there are pairs of height and width; the rest are of time.
    Interleaved,
}

impl Mrope {
    /// Reads `rope.dimension_sections`, which is required of an architecture with M-RoPE; `order` is that of its
    /// pairs. In other architectures' files the key is not known.
    pub(super) fn read(
        metadata: &ModelMetadata<'_>,
        order: Option<MropeOrder>,
        head_dim: usize,
    ) -> Result<Option<Self>, LoadError> {
        let Some(order) = order else { return Ok(None) };
        let found: &[i64] = metadata.get(KEY)?.ok_or_else(|| metadata.missing(KEY))?;
        let pairs = head_dim / 2;
        let wrong = || {
            let expected = format!(
                "three numbers for time, height and width that divide the {pairs} pairs of a head"
            );
            metadata.wrong(KEY, expected, format!("{found:?}"))
        };
        // The fourth number is of an axis that Qwen's models do not have.
        let ([time, height, width] | [time, height, width, 0]) = *found else {
            return Err(wrong());
        };
        let count = |pairs: i64| usize::try_from(pairs).map_err(|_| wrong());
        let mrope = Self { sections: [count(time)?, count(height)?, count(width)?], order };
        let mut counts = [0; AXES];
        (0..pairs).for_each(|pair| counts[mrope.axis(pair)] += 1);
        if counts != mrope.sections {
            return Err(wrong());
        }
        Ok(Some(mrope))
    }

    /// Returns the axis whose position rotates a pair: 0 for time, 1 for height, 2 for width.
    pub(super) fn axis(&self, pair: usize) -> usize {
        let [time, height, _] = self.sections;
        match self.order {
            MropeOrder::Contiguous if pair < time => 0,
            MropeOrder::Contiguous if pair - time < height => 1,
            MropeOrder::Contiguous => 2,
            // As `apply_interleaved_mrope` of transformers.
            MropeOrder::Interleaved => match pair % AXES {
                axis if pair / AXES < self.sections[axis] => axis,
                _ => 0,
            },
        }
    }
}
