//! Reads `max_tokens`, `stop` and how tokens are sampled.

use protocol::Sampling;
use serde_json::Value;

use crate::validate::fields::Fields;
use crate::validate::sampling::{self, MAX_LOGPROBS, MAX_STOP_BYTES, MAX_STOPS};
use crate::validate::type_name;

/// The values read.
pub(in crate::dialects::openai) struct Sampled {
    pub(in crate::dialects::openai) max_tokens: u32,
    pub(in crate::dialects::openai) stop: Vec<String>,
    pub(in crate::dialects::openai) sampling: Sampling,
}

/// Reads the fields. `lengths` are the names of the limit on the answer's length; the smallest value
/// counts, and one above `most` is lowered to it.
pub(in crate::dialects::openai) fn read(
    fields: &mut Fields<'_>,
    lengths: &[&str],
    most: u32,
    logprobs: Option<u32>,
) -> Sampled {
    let mut sampling = Sampling::default();
    for field in Sampling::FIELDS.iter().filter(|field| field.name != "seed") {
        sampling.set(field.name, sampling::number(fields, field));
    }
    sampling.seed = seed(fields);
    sampling.logit_bias = sampling::logit_bias(fields);
    sampling.logprobs = logprobs;
    let room = logprobs.map_or(u64::MAX, |top| MAX_LOGPROBS / (1 + u64::from(top)));
    let most = u32::try_from(room).unwrap_or(most).min(most);
    let given = lengths.iter().filter_map(|name| length(fields, name));
    let max_tokens = given.min().unwrap_or(most).min(most);
    Sampled { max_tokens, stop: fields.texts("stop", MAX_STOPS, MAX_STOP_BYTES), sampling }
}

/// Reads `logprobs` and `top_logprobs` of chat completions: the number of alternatives per token.
pub(in crate::dialects::openai) fn chat_logprobs(fields: &mut Fields<'_>) -> Option<u32> {
    let wanted = fields.boolean("logprobs").unwrap_or(false);
    let most = u64::from(Sampling::MAX_TOP_LOGPROBS);
    let top = fields.integer("top_logprobs", 0..=most).unwrap_or(0);
    if top > 0 && !wanted {
        fields.problem("top_logprobs", "value_error", "needs \"logprobs\": true beside it");
    }
    wanted.then(|| u32::try_from(top).unwrap_or(u32::MAX))
}

/// Reads a maximum length; -1 means the longest allowed one.
fn length(fields: &mut Fields<'_>, name: &str) -> Option<u32> {
    if fields.get(name).and_then(Value::as_i64) == Some(-1) {
        return None;
    }
    let tokens = fields.integer(name, 1..=u64::MAX)?;
    Some(u32::try_from(tokens).unwrap_or(u32::MAX))
}

/// Reads the seed: any integer of 64 bits, with or without a sign.
fn seed(fields: &mut Fields<'_>) -> Option<u64> {
    let value = fields.get("seed")?;
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    if seed.is_none() {
        let message = format!("expected an integer of 64 bits, got {}", type_name(value));
        fields.problem("seed", "int_type", message);
    }
    seed
}
