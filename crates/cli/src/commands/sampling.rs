//! The sampling flags of `submit`: each is a field of `POST /generate`.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};

/// How tokens are drawn, and what is told of them.
#[derive(Debug, Default, Args)]
pub(crate) struct SamplingArgs {
    /// 0 is greedy, up to 2.
    #[arg(long)]
    temperature: Option<f32>,
    /// Draw from the likeliest tokens that together reach this probability.
    #[arg(long)]
    top_p: Option<f32>,
    /// Draw from this many likeliest tokens; 0 or -1: from all.
    #[arg(long, allow_negative_numbers = true)]
    top_k: Option<Whole>,
    /// Draw from tokens with at least this share of the likeliest one's probability.
    #[arg(long)]
    min_p: Option<f32>,
    /// Make tokens of prompt and answer less likely: above 1, up to 2; 1 changes nothing.
    #[arg(long)]
    repetition_penalty: Option<f32>,
    /// Taken from the logits of tokens that the answer has; -2 to 2.
    #[arg(long, allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// The same, once for each time that it has them.
    #[arg(long, allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Add BIAS (-100 to 100) to the logit of the token with this number; may be given several times.
    #[arg(long, value_name = "TOKEN=BIAS")]
    logit_bias: Vec<Bias>,
    /// Tell how likely each token was; --json shows it.
    #[arg(long)]
    logprobs: bool,
    /// The same, and so many of the likeliest tokens at each place, up to 20.
    #[arg(long, value_name = "N")]
    top_logprobs: Option<u32>,
    /// Same seed, same answer; -1: a random one.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<Whole>,
    /// End before this text; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// Returns the fields that were given; the gateway has defaults for the others.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let logprobs = self.logprobs || self.top_logprobs.is_some();
        let biases = self.logit_bias.iter().map(|bias| (bias.token.to_string(), short(bias.bias)));
        let biases: Map<String, Value> = biases.collect();
        let fields = [
            ("temperature", self.temperature.map(short)),
            ("top_p", self.top_p.map(short)),
            ("top_k", self.top_k.map(Whole::value)),
            ("min_p", self.min_p.map(short)),
            ("repetition_penalty", self.repetition_penalty.map(short)),
            ("presence_penalty", self.presence_penalty.map(short)),
            ("frequency_penalty", self.frequency_penalty.map(short)),
            ("logit_bias", (!biases.is_empty()).then_some(Value::Object(biases))),
            ("logprobs", logprobs.then_some(Value::Bool(true))),
            ("top_logprobs", self.top_logprobs.map(Value::from)),
            ("seed", self.seed.map(Whole::value)),
            ("stop", (!self.stop.is_empty()).then(|| json!(self.stop))),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}

/// A whole number, or -1 for "not set".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// The number.
    Number(u64),
    /// -1.
    NoNumber,
}

impl Whole {
    /// Returns the value of the field in `POST /generate`.
    pub(super) fn value(self) -> Value {
        match self {
            Self::Number(number) => number.into(),
            Self::NoNumber => Value::from(-1),
        }
    }
}

impl FromStr for Whole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self::NoNumber),
            _ => text
                .parse()
                .map(Self::Number)
                .map_err(|_| format!("give a whole number from 0 to {}, or -1", u64::MAX)),
        }
    }
}

/// The value added to a token's logit.
#[derive(Debug, Clone, Copy)]
struct Bias {
    token: u32,
    bias: f32,
}

impl FromStr for Bias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=');
        parts
            .and_then(|(token, bias)| {
                Some(Self { token: token.parse().ok()?, bias: bias.parse().ok()? })
            })
            .ok_or_else(|| "give a token's number and its bias, such as 1234=-100".to_owned())
    }
}

/// Converts 0.7 to 0.7, not to the double that is nearest to the float.
fn short(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn fields(args: &[&str]) -> Value {
        let args = ["program"].iter().chain(args);
        Value::Object(Program::try_parse_from(args).unwrap().sampling.fields())
    }

    #[test]
    fn each_flag_is_a_field() {
        assert_eq!(fields(&[]), json!({}));
        let given = fields(&[
            "--temperature=0.7",
            "--top-p=0.9",
            "--top-k=20",
            "--min-p=0.05",
            "--repetition-penalty=1.1",
            "--presence-penalty",
            "-0.5",
            "--frequency-penalty=2",
            "--logit-bias",
            "1234=-100",
            "--logit-bias=7=1.5",
            "--logprobs",
            "--top-logprobs=3",
            "--seed=9",
            "--stop=a",
            "--stop=b",
        ]);
        let expected = json!({
            "temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.05,
            "repetition_penalty": 1.1, "presence_penalty": -0.5, "frequency_penalty": 2.0,
            "logit_bias": {"1234": -100.0, "7": 1.5}, "logprobs": true, "top_logprobs": 3,
            "seed": 9, "stop": ["a", "b"],
        });
        assert_eq!(given, expected);
        assert_eq!(fields(&["--top-k", "-1", "--seed", "-1"]), json!({"top_k": -1, "seed": -1}));
        assert_eq!(fields(&["--seed=18446744073709551615"]), json!({"seed": u64::MAX}));
        assert!("-2".parse::<Whole>().unwrap_err().contains("or -1"));
        assert_eq!(fields(&["--top-logprobs=0"]), json!({"logprobs": true, "top_logprobs": 0}));
    }

    #[test]
    fn a_bias_that_is_none_is_refused_in_words() {
        for bias in ["1234", "x=1", "1=", "-1=2"] {
            let error = bias.parse::<Bias>().unwrap_err();
            assert!(error.contains("such as 1234=-100"), "{bias}");
        }
    }
}
