//! Divides the memory among a worker's models. This is computed once, before any is loaded, so that
//! a model's context length does not depend on which others are in memory. Pure.

use engine::Survey;

/// A model with KV memory for this many tokens (or its whole context, if shorter) has enough.
const SUFFICIENT_TOKENS: usize = 4096;

/// KV memory in bytes if the available memory is unknown.
const DEFAULT_KV_BYTES: usize = 1 << 30;

/// The memory assigned to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// KV capacity in tokens.
    pub(super) tokens: usize,
    /// Weights and KV memory together, in bytes.
    pub(super) bytes: usize,
}

/// A model does not fit into the available memory, even alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// The model's index.
    pub(super) place: usize,
    /// The minimum that it needs, in bytes.
    pub(super) needs: usize,
}

/// Divides `budget` bytes; `usize::MAX` means that the available memory is unknown. If the models
/// fit together, each gets an equal part (at most a third) of what their weights leave for KV
/// memory. If they do not, each gets a third of what its own weights leave, as if it were alone,
/// and they take turns. With `set`, the operator has configured the number of tokens.
///
/// # Errors
/// If a model does not fit even alone.
pub(super) fn divide(budget: usize, surveys: &[Survey], set: bool) -> Result<Vec<Share>, TooLarge> {
    let share = |survey: &Survey, bytes: usize| {
        let bytes = if budget == usize::MAX { DEFAULT_KV_BYTES } else { bytes };
        let tokens = if set { survey.wanted_tokens } else { survey.tokens_within(bytes) };
        Share { tokens, bytes: survey.bytes(tokens) }
    };
    let alone: Vec<Share> = surveys
        .iter()
        .map(|survey| share(survey, budget.saturating_sub(survey.fixed) / 3))
        .collect();
    if let Some(place) = alone.iter().position(|share| share.bytes > budget) {
        return Err(TooLarge { place, needs: alone[place].bytes });
    }
    let fixed = surveys.iter().map(|survey| survey.fixed).fold(0, usize::saturating_add);
    let Some(left) = budget.checked_sub(fixed) else { return Ok(alone) };
    let part = left / surveys.len().max(3);
    let together: Vec<Share> = surveys.iter().map(|survey| share(survey, part)).collect();
    let roomy = together.iter().zip(surveys).all(|(share, survey)| {
        share.tokens >= survey.wanted_tokens.min(survey.context_length).min(SUFFICIENT_TOKENS)
    });
    Ok(if roomy { together } else { alone })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn survey(fixed_mib: usize) -> Survey {
        Survey {
            quantization: "Q4_K".into(),
            context_length: 40_960,
            fixed: fixed_mib * MIB,
            per_token: 4096,
            wanted_tokens: 4 * 40_960, // 640 MiB
            max_batch: 4,
            auto_batch: false,
        }
    }

    #[test]
    fn models_that_fit_together_share_the_memory() {
        let shares = divide(1000 * MIB, &[survey(100), survey(300)], false).unwrap();
        let sum: usize = shares.iter().map(|share| share.bytes).sum();
        assert!(sum <= 1000 * MIB && sum > 790 * MIB, "{shares:?}");
        let four = vec![survey(100); 4];
        let sum: usize =
            divide(1000 * MIB, &four, false).unwrap().iter().map(|share| share.bytes).sum();
        assert!(sum <= 1000 * MIB && sum > 990 * MIB);
    }

    #[test]
    fn models_that_do_not_fit_together_get_the_share_of_one_alone() {
        for two in [[survey(400), survey(700)], [survey(480), survey(500)]] {
            let shares = divide(1000 * MIB, &two, false).unwrap();
            for (share, survey) in shares.iter().zip(&two) {
                let alone = divide(1000 * MIB, std::slice::from_ref(survey), false).unwrap();
                assert_eq!([*share], alone.as_slice());
            }
        }
    }

    #[test]
    fn model_that_does_not_fit_alone_is_named() {
        let error = divide(500 * MIB, &[survey(100), survey(600)], false).unwrap_err();
        assert_eq!(error.place, 1);
        assert!(error.needs > 600 * MIB);
        // A configured number of tokens is never reduced.
        let set = Survey { wanted_tokens: 200_000, ..survey(100) };
        assert_eq!(divide(500 * MIB, std::slice::from_ref(&set), true).unwrap_err().place, 0);
        assert_eq!(divide(1000 * MIB, &[set], true).unwrap()[0].tokens, 200_000);
    }
}
