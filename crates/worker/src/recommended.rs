//! Applies the model's recommended sampling values to fields that a task does not set. Pure.

use engine::SamplingDefaults;
use engine::api::Sampling;
use protocol::{GenerationParams, RecommendedSampling, SamplingField};

/// Returns the recommended values that apply to a task: those of the fields that its request does
/// not set.
pub(crate) fn used(params: &GenerationParams, defaults: &SamplingDefaults) -> RecommendedSampling {
    let unset = |field| params.unset.contains(&field);
    RecommendedSampling {
        temperature: defaults.temperature.filter(|_| unset(SamplingField::Temperature)),
        top_p: defaults.top_p.filter(|_| unset(SamplingField::TopP)),
        top_k: defaults.top_k.filter(|_| unset(SamplingField::TopK)),
        min_p: defaults.min_p.filter(|_| unset(SamplingField::MinP)),
        repetition_penalty: defaults
            .repetition_penalty
            .filter(|_| unset(SamplingField::RepetitionPenalty)),
    }
}

/// Returns the task's sampling options with the recommended values applied.
pub(crate) fn apply(used: &RecommendedSampling, own: Sampling) -> Sampling {
    Sampling {
        temperature: used.temperature.unwrap_or(own.temperature),
        top_p: used.top_p.unwrap_or(own.top_p),
        top_k: match used.top_k {
            Some(0) => None, // all
            Some(top_k) => Some(top_k as usize),
            None => own.top_k,
        },
        min_p: used.min_p.unwrap_or(own.min_p),
        repetition_penalty: used.repetition_penalty.unwrap_or(own.repetition_penalty),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate;

    /// Returns the parameters that the gateway creates for a request that sets only these fields.
    fn params(set: &[SamplingField]) -> GenerationParams {
        let unset = SamplingField::ALL.into_iter().filter(|field| !set.contains(field)).collect();
        GenerationParams { temperature: 0.7, top_p: 0.9, unset, ..GenerationParams::greedy(8) }
    }

    const QWEN3: SamplingDefaults = SamplingDefaults {
        temperature: Some(0.6),
        top_p: Some(0.95),
        top_k: Some(20),
        min_p: None,
        repetition_penalty: None,
    };

    fn drawn(params: &GenerationParams, defaults: &SamplingDefaults) -> Sampling {
        apply(&used(params, defaults), translate::sampling(params))
    }

    #[test]
    fn the_request_goes_before_the_model_and_the_model_before_the_service() {
        let own = Sampling { temperature: 0.7, top_p: 0.9, ..Sampling::greedy() };
        assert_eq!(drawn(&params(&[]), &SamplingDefaults::default()), own);
        let recommended =
            Sampling { temperature: 0.6, top_p: 0.95, top_k: Some(20), ..Sampling::greedy() };
        assert_eq!(drawn(&params(&[]), &QWEN3), recommended);
        let said = [SamplingField::Temperature, SamplingField::TopK];
        let mixed = Sampling { temperature: 0.7, top_k: None, ..recommended.clone() };
        assert_eq!(drawn(&params(&said), &QWEN3), mixed);
        assert_eq!(drawn(&params(&SamplingField::ALL), &QWEN3), own);
        // Tasks that our own programs submit set all fields.
        assert_eq!(drawn(&GenerationParams::greedy(8), &QWEN3), Sampling::greedy());
    }

    #[test]
    fn what_was_used_is_told_and_nothing_else() {
        let told = used(&params(&[SamplingField::TopP]), &QWEN3);
        let expected = RecommendedSampling {
            temperature: Some(0.6),
            top_k: Some(20),
            ..RecommendedSampling::default()
        };
        assert_eq!(told, expected);
        assert!(used(&params(&SamplingField::ALL), &QWEN3).is_empty());
    }

    #[test]
    fn all_tokens_may_be_recommended_too() {
        let all = SamplingDefaults { top_k: Some(0), ..QWEN3 };
        let own = Sampling { top_k: Some(7), ..Sampling::greedy() };
        assert_eq!(apply(&used(&params(&[]), &all), own).top_k, None);
    }
}
