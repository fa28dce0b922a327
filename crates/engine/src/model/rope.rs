//! Rotary embedding: the angles by which queries and keys are turned.

use super::metadata::ModelMetadata;
use crate::LoadError;

/// The longest context that a file may tell, in tokens.
pub(super) const MOST_CONTEXT: usize = 1 << 24;

/// YaRN: a model reads texts `factor` times as long as those it was trained on. Pairs of numbers that
/// turn fast, and so tell neighbours apart, turn as ever; slow ones turn `factor` times slower; those
/// between are blended. What turned is scaled, as attention over longer texts is less sharp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How many times longer texts may be; above 1.
    pub factor: f32,
    /// Tokens of the longest text in training.
    pub original_context: usize,
    /// Pairs that turn more often than this within the original context turn as ever.
    pub beta_fast: f32,
    /// Pairs that turn less often than this are slowed down by the whole factor.
    pub beta_slow: f32,
    /// What queries and keys are multiplied with after they turned.
    pub attention_factor: f32,
}

impl Yarn {
    /// Reads `rope.scaling.*`; `context` is the file's context length.
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
            // A factor without a type is a linear one; without a factor nothing is stretched.
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
        // transformers' `attention_factor`, under the name that llama.cpp's converter gives it, and
        // llama.cpp's own factor beside it.
        let attention = metadata.positive("rope.scaling.yarn_attn_factor")?;
        let beside = metadata.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let original = metadata.count("rope.scaling.original_context_length", MOST_CONTEXT)?;
        let yarn = Self {
            factor,
            original_context: original.unwrap_or(context),
            beta_fast,
            beta_slow,
            attention_factor: beside * attention.unwrap_or_else(|| 0.1 * factor.ln() + 1.0),
        };
        if yarn.context_length() > MOST_CONTEXT {
            let expected = format!("a factor that makes at most {MOST_CONTEXT} tokens");
            return Err(metadata.wrong("rope.scaling.factor", expected, factor));
        }
        Ok(Some(yarn))
    }

    /// Tokens of the longest text it can read.
    pub fn context_length(&self) -> usize {
        (self.original_context as f64 * f64::from(self.factor)) as usize
    }

    /// How much of each pair's frequency stays, from 1 (all) to 0 (it is divided by the factor).
    fn kept(&self, head_dim: usize, theta: f32) -> impl Fn(usize) -> f64 {
        // The pair that turns so many times within the original context.
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

/// The frequencies, one for every pair of numbers of a head.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// `theta^(-2i / head_dim)`, stretched. `[head_dim / 2]`
    frequencies: Vec<f32>,
    /// What cosines and sines are multiplied with.
    scale: f32,
}

/// Cosines and sines of some tokens' angles. `[tokens, head_dim / 2]` each
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

impl Rope {
    pub(crate) fn new(head_dim: usize, theta: f32, yarn: Option<&Yarn>) -> Self {
        let frequency = |pair: usize| f64::from(theta).powf(-((2 * pair) as f64) / head_dim as f64);
        let pairs = 0..head_dim / 2;
        match yarn {
            None => {
                Self { frequencies: pairs.map(|pair| frequency(pair) as f32).collect(), scale: 1.0 }
            }
            Some(yarn) => {
                let kept = yarn.kept(head_dim, theta);
                let stretched = |pair: usize| {
                    let kept = kept(pair);
                    frequency(pair) * (kept + (1.0 - kept) / f64::from(yarn.factor))
                };
                Self {
                    frequencies: pairs.map(|pair| stretched(pair) as f32).collect(),
                    scale: yarn.attention_factor,
                }
            }
        }
    }

    /// Computed for the tokens at hand: cheap beside the step, and no table bounds the context.
    /// Always in f32: in a narrower type far positions would be wrong.
    pub(crate) fn turn_to(&self, positions: &[u32], Angles { cos, sin }: &mut Angles) {
        cos.clear();
        sin.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let angle = *position as f32 * frequency;
                cos.push(angle.cos() * self.scale);
                sin.push(angle.sin() * self.scale);
            }
        }
    }
}
