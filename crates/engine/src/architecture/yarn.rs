//! YaRN: frequencies of the rotary embedding for a longer context than that of training.

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
    pub(super) fn kept(self, head_dim: usize, theta: f32) -> impl Fn(usize) -> f64 {
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
