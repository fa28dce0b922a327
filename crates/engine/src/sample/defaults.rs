//! What a model's makers recommend for drawing tokens.

use crate::gguf::{Metadata, Value};

/// What the makers recommend begins so, as keys of GGUF.
pub(crate) const PREFIX: &str = "general.sampling.";

/// What a model's makers recommend for drawing tokens; `None` where they say nothing. It is used where a request
/// says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingDefaults {
    /// As of [`Sampling::temperature`](crate::Sampling::temperature); 0 to 2.
    pub temperature: Option<f32>,
    /// As of [`Sampling::top_p`](crate::Sampling::top_p).
    pub top_p: Option<f32>,
    /// As of [`Sampling::top_k`](crate::Sampling::top_k); 0 keeps all.
    pub top_k: Option<u32>,
    /// As of [`Sampling::min_p`](crate::Sampling::min_p).
    pub min_p: Option<f32>,
    /// As of [`Sampling::repetition_penalty`](crate::Sampling::repetition_penalty); at most 2.
    pub repetition_penalty: Option<f32>,
}

impl SamplingDefaults {
    /// Reads `general.sampling.*` of a GGUF file, or what a folder's `generation_config.json` says. A value that
    /// cannot be, or that asks for what is not computed here, is left out, with a warning in the log.
    pub(crate) fn read(metadata: &Metadata) -> Self {
        let number = |name: &str, allowed: &str, fits: fn(f64) -> bool| {
            let key = format!("{PREFIX}{name}");
            let found = match metadata.value(&key)? {
                Value::Int(number) => *number as f64,
                Value::Float(number) => *number,
                _ => f64::NAN,
            };
            if fits(found) {
                return Some(found);
            }
            tracing::warn!(
                "{}: it recommends {} {}, which is left out: allowed is {allowed}",
                metadata.label(),
                metadata.name_of(&key),
                metadata.value(&key).map(|value| value.describe()).unwrap_or_default()
            );
            None
        };
        let float = |number: Option<f64>| number.map(|number| number as f32);
        let top_k = number("top_k", "a whole number, of which 0 and -1 mean all", |k| {
            k.fract() == 0.0 && (-1.0..=f64::from(u32::MAX)).contains(&k)
        });
        let known = ["temp", "top_p", "top_k", "min_p", "penalty_repeat"];
        let mut others: Vec<&str> = metadata
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(PREFIX))
            .filter(|name| !known.contains(name))
            .collect();
        others.sort_unstable();
        if !others.is_empty() {
            tracing::warn!(
                "{}: it recommends {} too, which is not computed here",
                metadata.label(),
                others.join(", ")
            );
        }
        Self {
            temperature: float(number("temp", "from 0 to 2", |x| (0.0..=2.0).contains(&x))),
            top_p: float(number("top_p", "above 0, to 1", |x| x > 0.0 && x <= 1.0)),
            top_k: top_k.map(|k| k.max(0.0) as u32),
            min_p: float(number("min_p", "from 0 to 1", |x| (0.0..=1.0).contains(&x))),
            repetition_penalty: float(number("penalty_repeat", "above 0, to 2", |x| {
                x > 0.0 && x <= 2.0
            })),
        }
    }

    /// Whether nothing is recommended.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `temperature 0.6, top_k 20`.
impl std::fmt::Display for SamplingDefaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("temperature", self.temperature.map(|x| x.to_string())),
            ("top_p", self.top_p.map(|x| x.to_string())),
            ("top_k", self.top_k.map(|x| x.to_string())),
            ("min_p", self.min_p.map(|x| x.to_string())),
            ("repetition_penalty", self.repetition_penalty.map(|x| x.to_string())),
        ];
        let said = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, Value)]) -> SamplingDefaults {
        let mut metadata = Metadata::new("test.gguf".to_owned());
        for (name, value) in values {
            metadata.insert(&format!("{PREFIX}{name}"), value.clone(), *name);
        }
        SamplingDefaults::read(&metadata)
    }

    #[test]
    fn what_is_recommended_is_read() {
        assert!(read(&[]).is_empty());
        let all = read(&[
            ("temp", Value::Float(0.6)),
            ("top_p", Value::Float(0.95)),
            ("top_k", Value::Int(20)),
            ("min_p", Value::Int(0)),
            ("penalty_repeat", Value::Float(1.05)),
            ("mirostat", Value::Int(2)),
        ]);
        let expected = SamplingDefaults {
            temperature: Some(0.6),
            top_p: Some(0.95),
            top_k: Some(20),
            min_p: Some(0.0),
            repetition_penalty: Some(1.05),
        };
        assert_eq!(all, expected);
        assert_eq!(
            all.to_string(),
            "temperature 0.6, top_p 0.95, top_k 20, min_p 0, repetition_penalty 1.05"
        );
        assert_eq!(read(&[("top_k", Value::Int(-1))]).top_k, Some(0));
    }

    #[test]
    fn what_cannot_be_is_left_out() {
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
