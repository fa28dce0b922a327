//! Describes the tower of each family.

use super::size::PixelRange;
use crate::kernels::segments::HeadScratch;
use crate::kernels::tower_rows::Activation;

/// The precision of a tower's matrices that are stored in 16 or 32 bits. Quantized ones are used as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32.
    Full,
    /// Q8_0: about four times as fast, with an error that is small beside that of the file's 16 bits.
    #[default]
    EightBit,
}

/// Patches whose MLP is computed at once.
pub(super) const MLP_ROWS: usize = 1024;

/// The families of towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Qwen2-VL: <https://arxiv.org/abs/2409.12191>
    Qwen2Vl,
    /// Qwen2.5-VL: <https://arxiv.org/abs/2502.13923>. Windows, RMSNorm, gated MLPs.
    Qwen25Vl,
    /// Qwen3-VL and later: learned positions and, except in Qwen3.5 and later, DeepStack.
    Qwen3Vl,
}

/// Attention in windows (Qwen2.5-VL).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// The side of a window in tokens.
    pub side: usize,
    /// The blocks whose attention covers the whole image.
    pub whole: Vec<usize>,
}

/// The sizes of a tower and the normalization of its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct TowerSpec {
    /// The family.
    pub family: Family,
    /// The side of a patch in pixels.
    pub patch: usize,
    /// The frames of a patch.
    pub temporal: usize,
    /// The patches on each side of a token.
    pub merge: usize,
    /// The numbers of a patch's row.
    pub width: usize,
    /// The number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// The width of an MLP.
    pub feed_forward: usize,
    /// The width of an encoded row: that of the text model.
    pub out: usize,
    /// The epsilon of norms.
    pub eps: f32,
    /// The sides of the grid of learned positions; `None` if there are none.
    pub position_side: Option<usize>,
    /// The blocks after which rows for DeepStack are taken, ascending.
    pub deepstack: Vec<usize>,
    /// Attention in windows.
    pub windows: Option<Windows>,
    /// The mean of pixels from 0 to 1, which is subtracted.
    pub mean: [f32; 3],
    /// The deviation that pixels are divided by.
    pub deviation: [f32; 3],
    /// The number of pixels to which images are resized, unless a request has its own.
    pub pixels: PixelRange,
    /// Positions in time per second (Qwen2.5-VL).
    pub tokens_per_second: f64,
}

impl TowerSpec {
    /// Returns the numbers of a patch of pixels.
    pub fn patch_len(&self) -> usize {
        3 * self.temporal * self.patch * self.patch
    }

    /// Returns the side of a token in pixels.
    pub fn token_side(&self) -> u32 {
        (self.patch * self.merge) as u32
    }

    /// Returns the numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Returns the patches of a token.
    pub fn token_patches(&self) -> usize {
        self.merge * self.merge
    }

    /// Returns the numbers of a token's patches together.
    pub fn token_len(&self) -> usize {
        self.width * self.token_patches()
    }

    /// Returns about the bytes of the weights in memory, if they are stored in 16 or 32 bits.
    pub(crate) fn weight_bytes(&self, precision: Precision) -> usize {
        let (width, inner) = (self.width, self.token_len());
        let mlp = if self.gated() { 3 } else { 2 } * width * self.feed_forward;
        let mergers = (1 + self.deepstack.len()) * (inner * inner + inner * self.out);
        let matrices = self.depth * (4 * width * width + mlp) + mergers;
        let exact =
            width * self.patch_len() + self.position_side.map_or(0, |side| side * side * width);
        let of_matrices = match precision {
            Precision::Full => matrices * size_of::<f32>(),
            // A block of 32 numbers has 34 bytes.
            Precision::EightBit => matrices / 32 * 34,
        };
        of_matrices + exact * size_of::<f32>()
    }

    /// Returns the bytes of a workspace for an image of `patches` patches.
    pub(crate) fn workspace_bytes(&self, patches: usize) -> usize {
        let inner = self.feed_forward.max(self.token_len());
        // Pixels; the residual stream, a block's input, queries, keys and values; the input of a product once more,
        // quantized or for candle; the rows.
        let widths = 2 * self.patch_len() + 6 * self.width + self.out;
        let numbers = patches * widths + MLP_ROWS.min(patches) * 4 * inner;
        numbers * size_of::<f32>() + HeadScratch::bytes(patches, self.head_dim())
    }

    /// Whether norms are RMSNorm, without mean and bias.
    pub(super) fn rms(&self) -> bool {
        self.family == Family::Qwen25Vl
    }

    /// Whether MLPs have a gate.
    pub(super) fn gated(&self) -> bool {
        self.family == Family::Qwen25Vl
    }

    /// Whether the patch embedding has a bias.
    pub(super) fn patch_bias(&self) -> bool {
        self.family == Family::Qwen3Vl
    }

    /// Returns the activation function of MLPs.
    pub(super) fn activation(&self) -> Activation {
        match self.family {
            Family::Qwen2Vl => Activation::QuickGelu,
            Family::Qwen25Vl => Activation::Silu,
            Family::Qwen3Vl => Activation::TanhGelu,
        }
    }

    /// The most blocks.
    pub(super) const MAX_DEPTH: usize = 1024;

    /// Checks that the sizes fit together. Returns what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let in_range = |what: &str, value: usize, most: usize| match value {
            value if (1..=most).contains(&value) => Ok(()),
            value => Err(format!("its {what} should be from 1 to {most}, but is {value}")),
        };
        in_range("patch size", self.patch, 256)?;
        in_range("number of frames per patch", self.temporal, 8)?;
        in_range("merge size", self.merge, 8)?;
        in_range("width", self.width, 1 << 16)?;
        in_range("number of blocks", self.depth, Self::MAX_DEPTH)?;
        in_range("number of heads", self.heads, 1024)?;
        in_range("feed-forward width", self.feed_forward, 1 << 20)?;
        in_range("output width", self.out, 1 << 20)?;
        if !self.width.is_multiple_of(self.heads) || !self.head_dim().is_multiple_of(4) {
            return Err(format!(
                "its width {} should be {} heads of a multiple of 4 numbers",
                self.width, self.heads
            ));
        }
        if let Some(side) = self.position_side {
            in_range("grid of positions", side, 4096)?;
        }
        let ascending = self.deepstack.is_sorted_by(|a, b| a < b);
        if !ascending || self.deepstack.iter().any(|block| *block >= self.depth) {
            return Err(format!(
                "its blocks for DeepStack should be ascending and below {}, but are {:?}",
                self.depth, self.deepstack
            ));
        }
        if let Some(windows) = &self.windows {
            in_range("windows", windows.side, 1024)?;
        }
        let usable = |value: &f32| value.is_finite() && *value > 0.0;
        if !self.deviation.iter().all(usable) || !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err(format!(
                "its pixels are normalized by {:?} and {:?}, which are not means and deviations",
                self.mean, self.deviation
            ));
        }
        match self.eps > 0.0 && self.eps < 1.0 {
            true => Ok(()),
            false => Err(format!("its epsilon of norms is {}", self.eps)),
        }
    }

    /// Returns the sizes of a family's tower by its name: `qwen2-vl`, `qwen2.5-vl`, `qwen3-vl-2b`, `qwen3-vl-8b`,
    /// `qwen3.5-0.8b` or `qwen3.5-2b`. `out` is the width of the text model. For benchmarks.
    pub fn of_name(name: &str, out: usize) -> Option<Self> {
        let family = |family, patch, depth, width, heads, feed_forward, deepstack: &[usize]| Self {
            patch,
            width,
            depth,
            heads,
            feed_forward,
            deepstack: deepstack.to_vec(),
            ..Self::of_family(family, out)
        };
        Some(match name {
            "qwen2-vl" => family(Family::Qwen2Vl, 14, 32, 1280, 16, 5120, &[]),
            "qwen2.5-vl" => family(Family::Qwen25Vl, 14, 32, 1280, 16, 3420, &[]),
            "qwen3-vl-2b" => family(Family::Qwen3Vl, 16, 24, 1024, 16, 4096, &[5, 11, 17]),
            "qwen3-vl-8b" => family(Family::Qwen3Vl, 16, 27, 1152, 16, 4304, &[8, 16, 24]),
            "qwen3.5-0.8b" => family(Family::Qwen3Vl, 16, 12, 768, 12, 3072, &[]),
            "qwen3.5-2b" => family(Family::Qwen3Vl, 16, 24, 1024, 16, 4096, &[]),
            _ => return None,
        })
    }

    /// Returns what a family's towers have in common, with sizes of zero.
    pub(super) fn of_family(family: Family, out: usize) -> Self {
        let newest = family == Family::Qwen3Vl;
        let (patch, mean, deviation, pixels) = match newest {
            true => (16, [0.5; 3], [0.5; 3], PixelRange { min: 65_536, max: 16_777_216 }),
            false => (14, CLIP_MEAN, CLIP_DEVIATION, PixelRange { min: 3136, max: 12_845_056 }),
        };
        let windows = Windows { side: 4, whole: vec![7, 15, 23, 31] };
        Self {
            family,
            patch,
            temporal: 2,
            merge: 2,
            width: 0,
            depth: 0,
            heads: 0,
            feed_forward: 0,
            out,
            eps: 1e-6,
            position_side: newest.then_some(48),
            deepstack: Vec::new(),
            windows: (family == Family::Qwen25Vl).then_some(windows),
            mean,
            deviation,
            pixels,
            tokens_per_second: 2.0,
        }
    }
}

/// The mean of CLIP's pixels (<https://arxiv.org/abs/2103.00020>).
pub(super) const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// The deviation of CLIP's pixels.
pub(super) const CLIP_DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
