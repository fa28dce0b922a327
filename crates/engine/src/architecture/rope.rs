//! Rotary embedding (<https://arxiv.org/abs/2104.09864>): the angles that queries and keys are rotated by.

use super::config::ModelConfig;
use super::metadata::ModelMetadata;
use crate::error::LoadError;

/// The longest context length accepted from a file, in tokens.
pub(super) const MAX_CONTEXT_LENGTH: usize = 1 << 24;

/// YaRN (<https://arxiv.org/abs/2309.00071>): extends the context to `factor` times that of training. Pairs
/// of numbers with a high frequency, which distinguish neighbouring positions, keep it; the frequency of slow
/// pairs is divided by `factor`; pairs between are interpolated. Rotated queries and keys are scaled by
/// `attention_factor`, since attention over a longer context is less sharp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// The factor of the context length, at least 1.
    pub factor: f32,
    /// The context length of training, in tokens.
    pub original_context: usize,
    /// Pairs with more rotations than this within the original context keep their frequency.
    pub beta_fast: f32,
    /// Pairs with fewer rotations than this within the original context have their frequency divided by
    /// `factor`.
    pub beta_slow: f32,
    /// The factor that rotated queries and keys are multiplied by.
    pub attention_factor: f32,
}

impl Yarn {
    /// Reads `rope.scaling.*`. `context` is the context length of the file. Returns `None` if the context is
    /// not extended.
    pub(super) fn read(
        metadata: &ModelMetadata<'_>,
        context: usize,
    ) -> Result<Option<Self>, LoadError> {
        // What says how YaRN is to be done says nothing where it is not to be done.
        for key in [
            "rope.scaling.original_context_length",
            "rope.scaling.yarn_attn_factor",
            "rope.scaling.attn_factor",
            "rope.scaling.yarn_beta_fast",
            "rope.scaling.yarn_beta_slow",
        ] {
            metadata.take(key);
        }
        let factor = metadata.positive("rope.scaling.factor")?;
        match metadata.get::<&str>("rope.scaling.type")? {
            Some("yarn") => {}
            Some("none") => return Ok(None),
            // A factor without a type means linear scaling; without a factor the context is not extended.
            None | Some("linear") if factor.is_none_or(|factor| factor == 1.0) => return Ok(None),
            other => {
                return Err(metadata.all.unsupported(format!(
                    "it stretches its context by {:?} rope scaling; supported are \"yarn\" and \
                     \"none\"",
                    other.unwrap_or("linear")
                )));
            }
        }
        let factor = factor.ok_or_else(|| metadata.missing("rope.scaling.factor"))?;
        if !(1.0..=1024.0).contains(&factor) {
            return Err(metadata.wrong("rope.scaling.factor", "from 1 to 1024", factor));
        }
        let beta_fast = metadata.positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0);
        let beta_slow = metadata.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0);
        if beta_slow > beta_fast {
            let expected = format!("at most yarn_beta_fast, {beta_fast}");
            return Err(metadata.wrong("rope.scaling.yarn_beta_slow", expected, beta_slow));
        }
        // `yarn_attn_factor` is llama.cpp's name for `attention_factor` of transformers; `attn_factor` is
        // llama.cpp's own, which multiplies it.
        let attention = metadata.positive("rope.scaling.yarn_attn_factor")?;
        let own_factor = metadata.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let original =
            metadata.count("rope.scaling.original_context_length", MAX_CONTEXT_LENGTH)?;
        let yarn = Self {
            factor,
            original_context: original.unwrap_or(context),
            beta_fast,
            beta_slow,
            attention_factor: own_factor * attention.unwrap_or_else(|| 0.1 * factor.ln() + 1.0),
        };
        if yarn.context_length() > MAX_CONTEXT_LENGTH {
            let expected = format!("a factor that makes at most {MAX_CONTEXT_LENGTH} tokens");
            return Err(metadata.wrong("rope.scaling.factor", expected, factor));
        }
        Ok(Some(yarn))
    }

    /// Returns the extended context length, in tokens.
    pub fn context_length(&self) -> usize {
        (self.original_context as f64 * f64::from(self.factor)) as usize
    }

    /// Returns a function of the pair's index: the share of its frequency that is kept, from 1 (unchanged) to
    /// 0 (divided by the factor).
    fn kept(self, head_dim: usize, theta: f32) -> impl Fn(usize) -> f64 {
        // The index of the pair with this many rotations within the original context, as
        // `find_correction_dim` of transformers.
        let pair_of = |turns: f32| {
            let wavelength = self.original_context as f64 / f64::from(turns);
            head_dim as f64 * (wavelength / std::f64::consts::TAU).ln()
                / (2.0 * f64::from(theta).ln())
        };
        let first = pair_of(self.beta_fast).floor().max(0.0);
        let last = pair_of(self.beta_slow).ceil().min(head_dim as f64 - 1.0);
        let span = (last - first).max(0.001);
        move |pair| 1.0 - ((pair as f64 - first) / span).clamp(0.0, 1.0)
    }
}

/// The rotary embedding of a model.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// `[head_dim / 2]`
    pairs: Vec<Pair>,
    /// The factor of cosines and sines.
    scale: f32,
}

/// How a pair of numbers of a head is rotated.
#[derive(Debug, Clone, Copy)]
struct Pair {
    /// `theta^(-2i / head_dim)`, after YaRN.
    frequency: f32,
    /// The axis of its position: 0, except with M-RoPE.
    axis: usize,
}

/// Scaled cosines and sines of some tokens' angles, each `[tokens, head_dim / 2]`.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

impl Rope {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let ModelConfig { head_dim, rope_theta: theta, yarn, mrope, .. } = config;
        let (head_dim, theta) = (*head_dim, *theta);
        let original = |pair: usize| f64::from(theta).powf(-((2 * pair) as f64) / head_dim as f64);
        let kept = yarn.map(|yarn| (yarn.kept(head_dim, theta), f64::from(yarn.factor)));
        let frequency = |pair: usize| match &kept {
            None => original(pair),
            Some((kept, factor)) => original(pair) * (kept(pair) + (1.0 - kept(pair)) / factor),
        };
        let pair = |pair: usize| Pair {
            frequency: frequency(pair) as f32,
            axis: mrope.map_or(0, |mrope| mrope.axis(pair)),
        };
        Self {
            pairs: (0..head_dim / 2).map(pair).collect(),
            scale: yarn.map_or(1.0, |yarn| yarn.attention_factor),
        }
    }

    /// Computes the angles of `positions`. That is cheap compared to a step, and without a table the context
    /// is not bounded. Always in f32: a narrower type cannot represent far positions exactly.
    pub(crate) fn compute_angles(&self, positions: &[[u32; 3]], Angles { cos, sin }: &mut Angles) {
        cos.clear();
        sin.clear();
        for position in positions {
            for Pair { frequency, axis } in &self.pairs {
                let angle = position[*axis] as f32 * frequency;
                cos.push(angle.cos() * self.scale);
                sin.push(angle.sin() * self.scale);
            }
        }
    }
}

#[cfg(test)]
mod tests;
