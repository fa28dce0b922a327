//! Reads the sampling parameters that a model's authors recommend.

use chat::sampling::{Number, Range, Sampling, SamplingField};

use crate::gguf::{Metadata, Value};

/// The prefix of such parameters as keys of GGUF.
pub(crate) const PREFIX: &str = "general.sampling.";

/// Returns what `general.sampling.*` of a GGUF file, or a folder's `generation_config.json`, recommends. A value that
/// is out of range is left out with a warning in the log, and so is a parameter that is not supported.
pub(crate) fn recommended(metadata: &Metadata) -> Sampling {
    let mut recommended = Sampling::default();
    for (field, name) in Sampling::recommendable() {
        let key = format!("{PREFIX}{name}");
        let Some(value) = metadata.value(&key) else { continue };
        let found = match value {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            _ => f64::NAN,
        };
        let number = checked(field, found);
        if number.is_none() {
            tracing::warn!(
                "{}: it recommends {} {}, which is left out: allowed is {}",
                metadata.label(),
                metadata.name_of(&key),
                value.describe(),
                field.range.allowed()
            );
        }
        recommended.set(field.name, number);
    }
    let is_known = |name: &str| Sampling::recommendable().any(|(_, known)| known == name);
    let mut others: Vec<&str> = metadata
        .iter()
        .filter_map(|(key, _)| key.strip_prefix(PREFIX))
        .filter(|name| !is_known(name))
        .collect();
    others.sort_unstable();
    if !others.is_empty() {
        tracing::warn!(
            "{}: it recommends {} too, which is not computed here",
            metadata.label(),
            others.join(", ")
        );
    }
    recommended
}

/// Returns the number as the field's value; `None` if it is out of range.
fn checked(field: &SamplingField, found: f64) -> Option<Number> {
    let range = &field.range;
    match range {
        _ if found.is_nan() => None,
        Range::Whole { none, .. } if none.iter().any(|none| found == *none as f64) => field.neutral,
        Range::Whole { .. } => (found.fract() == 0.0 && range.check(found).is_ok())
            .then_some(Number::Whole(found as u64)),
        Range::Fraction { .. } => range.check(found).is_ok().then(|| range.fraction(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, Value)]) -> Sampling {
        let mut metadata = Metadata::new("test.gguf".to_owned());
        for (name, value) in values {
            metadata.insert(&format!("{PREFIX}{name}"), value.clone(), *name);
        }
        recommended(&metadata)
    }

    #[test]
    fn recommended_sampling_options_are_parsed() {
        assert!(read(&[]).is_empty());
        let all = read(&[
            ("temp", Value::Float(0.6)),
            ("top_p", Value::Float(0.95)),
            ("top_k", Value::Int(20)),
            ("min_p", Value::Int(0)),
            ("penalty_repeat", Value::Float(1.05)),
            ("mirostat", Value::Int(2)),
        ]);
        let expected = Sampling {
            temperature: Some(0.6),
            top_p: Some(0.95),
            top_k: Some(20),
            min_p: Some(0.0),
            repetition_penalty: Some(1.05),
            ..Sampling::default()
        };
        assert_eq!(all, expected);
        assert_eq!(
            all.to_string(),
            "temperature 0.6, top_p 0.95, top_k 20, min_p 0, repetition_penalty 1.05"
        );
        assert_eq!(read(&[("top_k", Value::Int(-1))]).top_k, Some(0));
    }

    #[test]
    fn invalid_recommended_sampling_options_are_ignored() {
        for (name, value) in [
            ("temp", Value::Float(-1.0)),
            ("temp", Value::Float(2.5)),
            ("temp", Value::String("hot".into())),
            ("top_p", Value::Int(0)),
            ("top_p", Value::Float(f64::NAN)),
            ("top_k", Value::Float(2.5)),
            ("top_k", Value::Int(-2)),
            ("min_p", Value::Float(1.5)),
            ("penalty_repeat", Value::Int(0)),
        ] {
            assert!(read(&[(name, value.clone())]).is_empty(), "{name} {value:?}");
        }
    }
}
