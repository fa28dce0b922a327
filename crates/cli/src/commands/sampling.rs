//! The sampling flags of `submit`: each is a field of `POST /generate`.

use std::str::FromStr;
use std::sync::LazyLock;

use chat::sampling::{Number, Range, Sampling};
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};
use serde_json::{Map, Value, json};

/// The flags for sampling, logprobs and stop strings.
#[derive(Debug, Default, Args)]
pub(crate) struct SamplingArgs {
    #[command(flatten)]
    numbers: Numbers,
    /// Add BIAS (-100 to 100) to the logit of the token with this number; may be repeated.
    #[arg(long, value_name = "TOKEN=BIAS")]
    logit_bias: Vec<Bias>,
    /// Return the log probability of each token; printed with --json.
    #[arg(long)]
    logprobs: bool,
    /// The same, and this many of the most probable tokens at each position, up to 20.
    #[arg(long, value_name = "N")]
    top_logprobs: Option<u32>,
    /// End the answer before the first occurrence of this text; may be repeated.
    #[arg(long)]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// Returns the fields that were given; the gateway has defaults for the others.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let logprobs = self.logprobs || self.top_logprobs.is_some();
        let biases = self
            .logit_bias
            .iter()
            .map(|bias| (bias.token.to_string(), Number::Fraction(bias.bias).json()));
        let biases: Map<String, Value> = biases.collect();
        let fields = [
            ("logit_bias", (!biases.is_empty()).then_some(Value::Object(biases))),
            ("logprobs", logprobs.then_some(Value::Bool(true))),
            ("top_logprobs", self.top_logprobs.map(Value::from)),
            ("stop", (!self.stop.is_empty()).then(|| json!(self.stop))),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        self.numbers.0.clone().into_iter().chain(given).collect()
    }
}

/// The flags of the table of sampling fields, as fields of `POST /generate`.
#[derive(Debug, Default)]
struct Numbers(Map<String, Value>);

/// The names of the flags and of their values; clap keeps references to them.
static FLAGS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let names = Sampling::FIELDS.iter().map(|field| field.name);
    names.map(|name| (name.replace('_', "-"), name.to_uppercase())).collect()
});

impl Args for Numbers {
    fn augment_args(command: Command) -> Command {
        let flags = Sampling::FIELDS.iter().zip(FLAGS.iter());
        command.args(flags.map(|(field, (flag, value))| {
            let arg = Arg::new(field.name)
                .long(flag.as_str())
                .value_name(value.as_str())
                .help(format!("{} ({})", field.description, field.range.allowed()))
                .allow_negative_numbers(true);
            match field.range {
                Range::Fraction { .. } => arg.value_parser(value_parser!(f32)),
                Range::Whole { .. } => arg.value_parser(value_parser!(Whole)),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Numbers {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = Sampling::FIELDS.iter().filter_map(|field| {
            let value = match field.range {
                Range::Fraction { .. } => matches
                    .get_one::<f32>(field.name)
                    .map(|number| Number::Fraction(*number).json()),
                Range::Whole { .. } => {
                    matches.get_one::<Whole>(field.name).map(|whole| whole.value())
                }
            };
            Some((field.name.to_owned(), value?))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
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
                .map_err(|_| format!("expected a whole number from 0 to {}, or -1", u64::MAX)),
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
            .ok_or_else(|| "expected a token's number and its bias, such as 1234=-100".to_owned())
    }
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
    fn each_flag_sets_a_request_field() {
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
    fn invalid_logit_bias_is_refused_with_an_example() {
        for bias in ["1234", "x=1", "1=", "-1=2"] {
            let error = bias.parse::<Bias>().unwrap_err();
            assert!(error.contains("such as 1234=-100"), "{bias}");
        }
    }
}
