//! Sampling parameters that a model's authors recommend.

use serde::{Deserialize, Serialize};

use crate::number;

/// A field of [`GenerationParams`](crate::GenerationParams) for which a model may recommend a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingField {
    /// `temperature`.
    Temperature,
    /// `top_p`.
    TopP,
    /// `top_k`.
    TopK,
    /// `min_p`.
    MinP,
    /// `repetition_penalty`.
    RepetitionPenalty,
}

impl SamplingField {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Temperature, Self::TopP, Self::TopK, Self::MinP, Self::RepetitionPenalty];
}

/// The recommended values that were used for an answer because its request set none. `None` if the
/// request set the field, or the model recommends nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RecommendedSampling {
    /// `temperature`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::read_optional_f32"
    )]
    pub temperature: Option<f32>,
    /// `top_p`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::read_optional_f32"
    )]
    pub top_p: Option<f32>,
    /// `top_k`; 0 means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// `min_p`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::read_optional_f32"
    )]
    pub min_p: Option<f32>,
    /// `repetition_penalty`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::read_optional_f32"
    )]
    pub repetition_penalty: Option<f32>,
}

impl RecommendedSampling {
    /// Returns whether no recommended value was used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_is_not_told() {
        let used =
            RecommendedSampling { top_k: Some(20), temperature: Some(0.6), ..Default::default() };
        let text = serde_json::to_string(&used).unwrap();
        assert_eq!(text, r#"{"temperature":0.6,"top_k":20}"#);
        assert_eq!(serde_json::from_str::<RecommendedSampling>(&text).unwrap(), used);
        // Within an outcome, which serde buffers.
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "state")]
        enum Tagged {
            One { used: RecommendedSampling },
        }
        let text = serde_json::to_string(&Tagged::One { used }).unwrap();
        assert_eq!(serde_json::from_str::<Tagged>(&text).unwrap(), Tagged::One { used }, "{text}");
        assert!(RecommendedSampling::default().is_empty() && !used.is_empty());
    }
}
