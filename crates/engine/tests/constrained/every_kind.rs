//! Every kind of constraint, on models that never think, that think if asked, and that always think.

use std::collections::VecDeque;
use std::rc::Rc;

use engine::{Constraint, Finished, GenerateError, Generation, StopReason, Tool};
use grammar::{Grammars, Token};
use serde_json::{Value, json};

use crate::any_schema;
use crate::read;
use crate::thinking::{Model, RETRIES, ThinkingMode};

const ENABLE_THINKING: [Option<bool>; 3] = [Some(true), None, Some(false)];

/// Whether a text is the beginning of one that a constraint allows. Byte by byte, since a model's tokens do not
/// matter.
fn may_begin(constraint: &Constraint, text: &str) -> bool {
    let bytes: Vec<u8> = (0..=255).collect();
    let tokens = bytes.chunks(1).map(Token::Bytes).chain([Token::Hidden]);
    let grammars = Grammars::new(tokens, &[256]).unwrap();
    let mut matcher = grammars.begin(constraint).unwrap();
    text.bytes().all(|byte| {
        matcher.mask().is_ok_and(|mask| mask.contains(byte.into()))
            && matcher.accept(byte.into()).is_ok()
    })
}

/// An answer to a random schema that is being generated.
struct Running {
    seed: u64,
    answer: u64,
    retry: u32,
    constraint: Rc<Constraint>,
    judge: Rc<jsonschema::Validator>,
    generation: Generation,
}

impl Running {
    fn submit(
        model: &Model,
        (seed, answer, retry): (u64, u64, u32),
        constraint: Rc<Constraint>,
        judge: Rc<jsonschema::Validator>,
    ) -> Self {
        let enable = ENABLE_THINKING[(seed + answer) as usize % 3];
        let generation = model
            .submit(seed * 1_000 + answer, retry, enable, (*constraint).clone())
            .unwrap_or_else(|error| panic!("{seed}: {error}\n{constraint:?}"));
        assert_eq!(generation.answer_start(), model.thinks().start(enable), "{enable:?}");
        Self { seed, answer, retry, constraint, judge, generation }
    }
}

#[derive(Debug, Default)]
struct Tally {
    kept: u64,
    refused: u64,
    /// Answers that ended by themselves and are valid.
    whole: u64,
    thoughts: u64,
    /// Submissions that `max_tokens` cut off.
    cut: u64,
    cut_while_reasoning: u64,
    /// Answers that are whole only after so many retries.
    retried: [u64; RETRIES as usize + 1],
    tokens: usize,
    failures: Vec<String>,
}

impl Tally {
    /// Waits for an answer and validates it by its schema. Submits it again if it was cut off.
    fn finish(&mut self, model: &Model, running: Running) -> Option<Running> {
        let Running { seed, answer, retry, constraint, judge, generation } = running;
        let is_valid = |answer: &str| {
            let value: Value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
            judge.validate(&value).map_err(|error| format!("{error} at {}", error.instance_path()))
        };
        let problem = match self.judge(model, &constraint, generation, &is_valid) {
            Ok(true) => {
                self.retried[retry as usize] += 1;
                return None;
            }
            Ok(false) if retry < RETRIES => {
                return Some(Running::submit(model, (seed, answer, retry + 1), constraint, judge));
            }
            Ok(false) => format!("cut off after {RETRIES} retries"),
            Err(problem) => problem,
        };
        self.failures.push(format!("{seed}, answer {answer}: {problem}\n{constraint:?}"));
        None
    }

    /// Judges one answer. Returns whether it is whole, or the reason why it is wrong.
    fn judge(
        &mut self,
        model: &Model,
        constraint: &Constraint,
        generation: Generation,
        is_valid: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<bool, String> {
        let start = generation.answer_start();
        let (text, end): (String, Finished) =
            read(generation).map_err(|error| error.to_string())?;
        self.tokens += end.completion_tokens;
        let parts = model.split(&text, start);
        match (end.reason, parts) {
            (StopReason::EndOfTurn, Some((thought, answer))) => {
                is_valid(answer).map_err(|problem| format!("{text:?}: {problem}"))?;
                self.whole += 1;
                self.thoughts += u64::from(!thought.trim().is_empty());
                Ok(true)
            }
            (StopReason::EndOfTurn, None) => Err(format!("ended in its thought: {text:?}")),
            (StopReason::Length, parts) => {
                self.cut += 1;
                self.cut_while_reasoning += u64::from(parts.is_none());
                // The last character may be cut too.
                let answer = parts.map_or("", |(_, answer)| answer).trim_end_matches('\u{fffd}');
                match may_begin(constraint, answer) {
                    true => Ok(false),
                    false => Err(format!("cut, and no beginning of a valid answer: {text:?}")),
                }
            }
            (reason, _) => Err(format!("{reason:?}: {text:?}")),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Answers random schemas with a model until every answer is whole, and validates it.
fn random_schemas(thinks: ThinkingMode) {
    let model = Model::start(thinks);
    let from = number("SCHEMAS_FROM", 0);
    let (count, answers) = (number("SCHEMAS", 30), number("ANSWERS", 1));
    let mut tally = Tally::default();
    let mut running = VecDeque::new();
    for seed in from..from + count {
        let schema = any_schema::random(seed);
        let constraint = Rc::new(Constraint::JsonSchema(schema.clone()));
        if let Err(refusal) = grammar::check(&constraint) {
            tally.refused += 1;
            match model.submit(seed, 0, None, (*constraint).clone()) {
                Err(GenerateError::InvalidRequest(problem)) if refusal.pointer().is_some() => {
                    assert_eq!(problem, refusal.to_string(), "{seed}");
                }
                other => tally.failures.push(format!("{seed}: {refusal}, but {other:?}\n{schema}")),
            }
            continue;
        }
        tally.kept += 1;
        // Unknown formats are annotations; the validator knows these two.
        let judge = jsonschema::options().should_validate_formats(true);
        let judge = judge.with_format("uri-reference", |_| true).with_format("regex", |_| true);
        let judge = Rc::new(judge.build(&schema).unwrap());
        for answer in 0..answers {
            let (constraint, judge) = (constraint.clone(), judge.clone());
            running.push_back(Running::submit(&model, (seed, answer, 0), constraint, judge));
            if running.len() > 128 {
                let again = tally.finish(&model, running.pop_front().unwrap());
                running.extend(again);
            }
        }
    }
    while let Some(one) = running.pop_front() {
        running.extend(tally.finish(&model, one));
    }
    let Tally {
        kept,
        refused,
        whole,
        thoughts,
        cut,
        cut_while_reasoning,
        retried,
        tokens,
        failures,
    } = &tally;
    println!(
        "{thinks:?}, seeds {from}..{}: {kept} schemas kept, {refused} refused; of {} answers {whole} are whole and valid, \
         {thoughts} of them after a thought; whole after 0 to {RETRIES} retries: {retried:?}; {cut} submissions cut, \
         {cut_while_reasoning} of them in a thought; {tokens} tokens; {} failures",
        from + count,
        kept * answers,
        failures.len(),
    );
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    assert_eq!(*whole, kept * answers);
    assert_eq!(*thoughts > 0, thinks != ThinkingMode::Never);
}

#[test]
fn random_schemas_hold_for_models_that_never_reason() {
    random_schemas(ThinkingMode::Never);
}

#[test]
fn random_schemas_hold_for_models_that_reason_on_request() {
    random_schemas(ThinkingMode::OnRequest);
}

#[test]
fn random_schemas_hold_for_models_that_always_reason() {
    random_schemas(ThinkingMode::Always);
}

fn function(name: &str, parameters: Value) -> Tool {
    Tool { parameters: Some(parameters), ..Tool::named(name) }
}

/// Checks a call in the format of the Qwen families.
fn is_call(answer: &str, functions: &[Tool]) -> Result<(), String> {
    let call =
        answer.strip_prefix("<tool_call>\n").and_then(|rest| rest.strip_suffix("\n</tool_call>"));
    let call: Value =
        serde_json::from_str(call.ok_or("no tags")?).map_err(|error| error.to_string())?;
    let called = functions.iter().find(|function| call["name"] == function.name.as_str());
    let parameters = called.ok_or("no such function")?.parameters.as_ref().unwrap();
    let judge = jsonschema::validator_for(parameters).unwrap();
    judge.validate(&call["arguments"]).map_err(|error| error.to_string())
}

#[test]
fn every_constraint_kind_holds_with_and_without_reasoning() {
    let schema = json!({
        "type": "object",
        "properties": {"zone": {"type": "integer", "minimum": 3}, "mood": {"enum": ["calm", "busy"]}},
        "required": ["zone", "mood"],
        "additionalProperties": false,
    });
    let regex = r"[A-Z]{3}-\d{2,4}(/x)?";
    let choices = ["yes", "yes, but", "né|o.*"].map(str::to_owned);
    let functions = [
        function("set_zone", schema.clone()),
        function("stop", json!({"type": "object", "maxProperties": 0})),
    ];
    let judge = jsonschema::validator_for(&schema).unwrap();
    let whole = regex::Regex::new(&format!("^(?:{regex})$")).unwrap();
    let parse =
        |answer: &str| serde_json::from_str::<Value>(answer).map_err(|error| error.to_string());
    let ensure =
        |holds: bool| if holds { Ok(()) } else { Err("the constraint is violated".to_owned()) };
    type Check<'c> = Box<dyn Fn(&str) -> Result<(), String> + 'c>;
    let forms: [(Constraint, Check<'_>); 6] = [
        (Constraint::JsonObject, Box::new(|text| ensure(parse(text)?.is_object()))),
        (
            Constraint::JsonSchema(schema.clone()),
            Box::new(|text| ensure(judge.is_valid(&parse(text)?))),
        ),
        (Constraint::Regex(regex.to_owned()), Box::new(|text| ensure(whole.is_match(text)))),
        (
            Constraint::Choice(choices.to_vec()),
            Box::new(|text| ensure(choices.iter().any(|one| one == text))),
        ),
        // `tool_choice`: `required`, and a named function.
        (Constraint::ToolCall(functions.to_vec()), Box::new(|text| is_call(text, &functions))),
        (
            Constraint::ToolCall(functions[..1].to_vec()),
            Box::new(|text| is_call(text, &functions[..1])),
        ),
    ];
    for thinks in ThinkingMode::ALL {
        let model = Model::start(thinks);
        for (constraint, is_valid) in &forms {
            let mut tally = Tally::default();
            let running: Vec<_> = (0..6)
                .map(|seed| {
                    let enable = ENABLE_THINKING[seed as usize % 3];
                    let generation = model.submit(seed, 0, enable, constraint.clone()).unwrap();
                    assert_eq!(generation.answer_start(), thinks.start(enable), "{enable:?}");
                    generation
                })
                .collect();
            for generation in running {
                if let Err(problem) = tally.judge(&model, constraint, generation, is_valid) {
                    panic!("{thinks:?}, {constraint:?}: {problem}");
                }
            }
            assert!(tally.whole >= 5, "{thinks:?}, {constraint:?}: {tally:?}");
            assert_eq!(
                tally.thoughts > 0,
                thinks != ThinkingMode::Never,
                "{constraint:?}: {tally:?}"
            );
        }
    }
}
