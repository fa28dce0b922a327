//! Validates the sampling parameters and the request for logprobs.

use std::collections::BTreeMap;

use chat::sampling::{Number, Range, Sampling, SamplingField};
use serde_json::Value;

use super::fields::{Fields, OptionalCount};
use super::{echo, type_name};

/// Default `max_tokens`, unless the configured maximum is lower.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 512;
/// Maximum number of stop strings.
pub(crate) const MAX_STOPS: usize = 16;
/// Maximum length of a stop string, in bytes.
pub(crate) const MAX_STOP_BYTES: usize = 256;
/// Maximum number of entries in `logit_bias`.
pub(crate) const MAX_BIASES: usize = 1_024;
/// Maximum number of problems that are reported for a `logit_bias`.
const MAX_BIAS_PROBLEMS: usize = 16;
/// Range of a bias.
const BIAS: Range = Range::Fraction { least: -100.0, above: false, most: 100.0 };
/// Maximum number of logprobs in an answer, including alternatives. Each takes some 70 bytes of the
/// queue's memory for as long as the result is kept.
pub(crate) const MAX_LOGPROBS: u64 = 16_384;

/// The validated fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampled {
    pub(super) max_tokens: u32,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
}

/// Returns the table's fields in two groups: those listed before `logit_bias` and the logprobs, and the seed,
/// which is listed after them.
pub(crate) fn field_groups() -> (&'static [SamplingField], &'static [SamplingField]) {
    let fields = Sampling::FIELDS;
    let seed = fields.iter().position(|field| field.name == "seed");
    fields.split_at(seed.unwrap_or(fields.len()))
}

/// Returns the names of the fields that this module reads.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let names = |fields: &'static [SamplingField]| fields.iter().map(|field| field.name);
    let (numbers, seed) = field_groups();
    std::iter::once("max_tokens")
        .chain(names(numbers))
        .chain(["logit_bias", "logprobs", "top_logprobs"])
        .chain(names(seed))
        .chain(["stop"])
}

/// Reads the fields; `max_new_tokens` is the maximum length of an answer.
///
/// By the conventions of other servers, `top_k` 0 or -1 means all tokens, `seed` -1 a random seed,
/// and `max_tokens` -1 the longest allowed answer.
pub(super) fn read(fields: &mut Fields<'_>, max_new_tokens: u32) -> Sampled {
    let allowed = 1..=u64::from(max_new_tokens);
    let max_tokens = match fields.integer_or_none("max_tokens", allowed, &[-1]) {
        Some(OptionalCount::Number(number)) => u32::try_from(number).unwrap_or(max_new_tokens),
        Some(OptionalCount::NoNumber) => longest_allowed_answer(fields, max_new_tokens),
        None => DEFAULT_MAX_TOKENS.min(max_new_tokens),
    };
    let mut sampling = Sampling::default();
    for field in Sampling::FIELDS {
        sampling.set(field.name, number(fields, field));
    }
    sampling.logit_bias = logit_bias(fields);
    sampling.logprobs = logprobs(fields, max_tokens);
    Sampled { max_tokens, sampling, stop: fields.texts("stop", MAX_STOPS, MAX_STOP_BYTES) }
}

/// Reads a field of the table.
pub(crate) fn number(fields: &mut Fields<'_>, field: &SamplingField) -> Option<Number> {
    match field.range {
        Range::Fraction { .. } => {
            let check = |number| field.range.check(number);
            let number = fields.number(field.name, || field.range.allowed(), check)?;
            Some(field.range.fraction(number))
        }
        Range::Whole { least, most, none } => {
            match fields.integer_or_none(field.name, least..=most, none)? {
                OptionalCount::Number(number) => Some(Number::Whole(number)),
                OptionalCount::NoNumber => field.neutral,
            }
        }
    }
}

/// Returns the longest allowed answer in tokens, which [`MAX_LOGPROBS`] limits further if logprobs
/// are requested.
fn longest_allowed_answer(fields: &Fields<'_>, max_new_tokens: u32) -> u32 {
    if fields.get("logprobs") != Some(&Value::Bool(true)) {
        return max_new_tokens;
    }
    let top = fields.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0);
    let most = MAX_LOGPROBS / (1 + top.min(u64::from(Sampling::MAX_TOP_LOGPROBS)));
    u32::try_from(most).map_or(max_new_tokens, |most| most.min(max_new_tokens))
}

/// Returns the number of alternatives per token, or `None` if logprobs are not requested.
fn logprobs(fields: &mut Fields<'_>, max_tokens: u32) -> Option<u32> {
    let wanted = fields.boolean("logprobs").unwrap_or(false);
    let top =
        fields.integer("top_logprobs", 0..=u64::from(Sampling::MAX_TOP_LOGPROBS)).unwrap_or(0);
    if top > 0 && !wanted {
        let message = "needs \"logprobs\": true beside it";
        fields.problem("top_logprobs", "value_error", message);
    }
    let each = 1 + top;
    if wanted && u64::from(max_tokens) * each > MAX_LOGPROBS {
        let message = format!(
            "an answer may have {MAX_LOGPROBS} logprobs, alternatives included: {max_tokens} tokens with \
             {top} alternatives each are {}; set max_tokens to at most {}, or fewer top_logprobs",
            u64::from(max_tokens) * each,
            MAX_LOGPROBS / each
        );
        fields.problem("logprobs", "value_error", message);
    }
    wanted.then(|| u32::try_from(top).ok()).flatten()
}

/// Reads a map from token ids to the values added to their logits.
pub(crate) fn logit_bias(fields: &mut Fields<'_>) -> BTreeMap<u32, f32> {
    let mut biases = BTreeMap::new();
    let Some(value) = fields.get("logit_bias") else { return biases };
    let Value::Object(map) = value else {
        let message = format!(
            "expected an object such as {{\"1234\": -100}}, from token numbers to numbers from -100 to 100, \
             got {}",
            type_name(value)
        );
        fields.problem("logit_bias", "dict_type", message);
        return biases;
    };
    if map.len() > MAX_BIASES {
        let message = format!("must have at most {MAX_BIASES} tokens, has {}", map.len());
        fields.problem("logit_bias", "too_long", message);
        return biases;
    }
    let judged = map.iter().map(|(name, value)| (name, bias(name, value)));
    let (mut problems, mut more) = (Vec::new(), 0);
    for (name, judged) in judged {
        match judged {
            Ok((token, bias)) => {
                biases.insert(token, bias);
            }
            Err(problem) if problems.len() < MAX_BIAS_PROBLEMS => problems.push((name, problem)),
            Err(_) => more += 1,
        }
    }
    for (name, (kind, message)) in problems {
        fields.problem_in("logit_bias", name, kind, message);
    }
    if more > 0 {
        let message = format!("{more} more entries are wrong in such ways");
        fields.problem("logit_bias", "value_error", message);
    }
    biases
}

/// Validates one entry of `logit_bias`.
fn bias(name: &str, value: &Value) -> Result<(u32, f32), (&'static str, String)> {
    // Accepts only the canonical spelling, so that a token cannot have two biases.
    let token = name.parse::<u32>().ok().filter(|token| token.to_string() == name);
    let Some(token) = token else {
        let message = format!("expected a token's number such as \"1234\", got '{}'", echo(name));
        return Err(("int_parsing", message));
    };
    let Some(bias) = value.as_f64() else {
        let message = format!("expected a number from -100 to 100, got {}", type_name(value));
        return Err(("float_type", message));
    };
    match BIAS.check(bias) {
        Ok(()) => Ok((token, bias as f32)),
        Err(kind) => Err((kind, format!("must be from -100 to 100, got {value}"))),
    }
}

#[cfg(test)]
mod tests;
