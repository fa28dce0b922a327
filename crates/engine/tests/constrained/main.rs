//! Answers that must keep a constraint, of the bundled model and of models of random weights.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../../grammar/tests/random/schemas.rs"]
mod any_schema;
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // a part of it is used here
#[path = "../checkpoint/edit.rs"]
mod edit;
mod every_kind;
mod schemas;
mod thinking;

use std::path::Path;

use engine::source::{SourceOptions, resolve};
use engine::{
    Constraint, Engine, EngineOptions, Finished, GenerateError, Generation, Input, Message,
    Progress, Request, Sampling, StopReason,
};
use serde_json::{Value, json};

fn start(options: EngineOptions) -> Engine {
    Engine::start(&resolve("demo", &SourceOptions::default()).unwrap(), &options).unwrap()
}

fn request(seed: u64, constraint: Option<Constraint>) -> Request {
    let message = Message::user("How do I add a worker?".to_owned());
    Request {
        // Hot, so that the model alone would hardly keep anything.
        sampling: Sampling { temperature: Some(1.5), seed: Some(seed), ..Sampling::default() },
        constraint,
        ..Request::greedy(Input::Chat(vec![message]), 400)
    }
}

fn read(mut generation: Generation) -> Result<(String, Finished), GenerateError> {
    let mut text = String::new();
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text: part, .. } => text.push_str(&part),
            Progress::Finished(finished) => return Ok((text, finished)),
            Progress::Failed(error) => return Err(error),
        }
    }
}

fn answer(engine: &Engine, seed: u64, constraint: Constraint) -> (String, Finished) {
    read(engine.submit(&request(seed, Some(constraint))).unwrap()).unwrap()
}

#[test]
fn answers_to_200_random_schemas_parse_and_validate() {
    let engine = start(EngineOptions { max_batch: 16, ..EngineOptions::default() });
    let schemas: Vec<Value> = (0..200).map(schemas::random).collect();
    let running: Vec<Generation> = (0..)
        .zip(&schemas)
        .map(|(seed, schema)| {
            let constraint = Constraint::JsonSchema(schema.clone());
            engine
                .submit(&request(seed, Some(constraint)))
                .unwrap_or_else(|error| panic!("{schema} is refused: {error}"))
        })
        .collect();
    let mut texts = Vec::new();
    for (schema, generation) in schemas.iter().zip(running) {
        let (text, end) = read(generation).unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert_eq!(end.reason, StopReason::EndOfTurn, "{schema}\n{text}");
        let value: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{schema}\n{text}\ndoes not parse: {error}"));
        let judge = jsonschema::validator_for(schema).unwrap();
        if let Err(error) = judge.validate(&value) {
            panic!("{schema}\n{text}\ndoes not validate: {error}");
        }
        texts.push(text);
    }
    // The schemas and the answers are really various.
    texts.sort();
    texts.dedup();
    assert!(texts.len() > 120, "only {} different answers", texts.len());
}

#[test]
fn regex_choice_and_json_object_constraints_hold() {
    let engine = start(EngineOptions::default());
    let expected = regex::Regex::new(r"^[A-Z]{3}-\d{2,4}(/x)?$").unwrap();
    for seed in 0..10 {
        let (text, end) = answer(&engine, seed, Constraint::Regex(r"[A-Z]{3}-\d{2,4}(/x)?".into()));
        assert!(expected.is_match(&text), "{text:?}");
        assert_eq!(end.reason, StopReason::EndOfTurn);

        let choices = ["yes", "yes, but", "né|o.*"].map(str::to_owned);
        let (text, end) = answer(&engine, seed, Constraint::Choice(choices.to_vec()));
        assert!(choices.contains(&text), "{text:?}");
        assert_eq!(end.reason, StopReason::EndOfTurn);

        let (text, end) = answer(&engine, seed, Constraint::JsonObject);
        match end.reason {
            StopReason::EndOfTurn => {
                assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text:?}");
            }
            reason => assert_eq!(reason, StopReason::Length),
        }
        assert!(text.starts_with('{'), "{text:?}");
    }
}

#[test]
fn a_constrained_answer_ends_exactly_when_it_is_complete() {
    let engine = start(EngineOptions::default());
    let exactly = |text: &str| Constraint::Choice(vec![text.to_owned()]);
    let whole = "A text that the model would never write, Ж!";
    let (text, end) = answer(&engine, 1, exactly(whole));
    assert_eq!((text.as_str(), end.reason), (whole, StopReason::EndOfTurn));
    // So many tokens suffice, one fewer does not.
    let of = |max_tokens| {
        let request = Request { max_tokens, ..request(1, Some(exactly(whole))) };
        read(engine.submit(&request).unwrap()).unwrap()
    };
    let (text, last) = of(end.completion_tokens);
    assert_eq!((text.as_str(), last.reason), (whole, StopReason::EndOfTurn));
    let (text, cut) = of(end.completion_tokens - 1);
    assert_eq!(cut.reason, StopReason::Length);
    assert!(whole.starts_with(&text) && text.len() < whole.len(), "{text:?}");
}

#[test]
fn unsatisfiable_constraints_are_refused_at_submission() {
    let engine = start(EngineOptions::default());
    for (constraint, reason) in [
        (Constraint::JsonSchema(json!({"type": "poem"})), "poem"),
        (Constraint::Regex("(".to_owned()), "regex"),
        (Constraint::Choice(vec![]), "1 to 256"),
    ] {
        match engine.submit(&request(1, Some(constraint))) {
            Err(GenerateError::InvalidRequest(problem)) => {
                assert!(problem.contains(reason), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn preempted_sequences_resume_their_constraint_state() {
    let schema = json!({
        "type": "array", "minItems": 80, "maxItems": 80,
        "items": {"type": "string", "minLength": 3, "maxLength": 8},
    });
    let ask = |engine: &Engine, count: u64| -> Vec<String> {
        let running: Vec<Generation> = (0..count)
            .map(|seed| {
                let constraint = Some(Constraint::JsonSchema(schema.clone()));
                let request = Request { max_tokens: 900, ..request(seed, constraint) };
                engine.submit(&request).unwrap()
            })
            .collect();
        running.into_iter().map(|generation| read(generation).unwrap().0).collect()
    };
    let narrow = EngineOptions {
        max_batch: 8,
        context_limit: Some(1_024),
        kv_tokens: Some(1_056),
        ..EngineOptions::default()
    };
    let narrow = start(narrow);
    let answers = ask(&narrow, 8);
    assert!(narrow.totals().preemptions > 0, "nobody had to wait again");
    for text in &answers {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(value.as_array().unwrap().len(), 80, "{text}");
    }
    let roomy = start(EngineOptions { max_batch: 8, ..EngineOptions::default() });
    assert_eq!(answers, ask(&roomy, 8));
}

#[test]
fn constraints_do_not_affect_other_sequences_in_the_batch() {
    let engine = start(EngineOptions::default());
    let free = || engine.submit(&request(7, None)).unwrap();
    let alone = read(free()).unwrap().0;
    let choice = Constraint::Choice(vec!["x".repeat(200)]);
    let bound = engine.submit(&request(8, Some(choice))).unwrap();
    let beside = free();
    assert_eq!(read(beside).unwrap().0, alone);
    assert_eq!(read(bound).unwrap().0, "x".repeat(200));
}

#[test]
fn constraints_apply_after_reasoning_only() {
    // The bundled model with the template of one that thinks.
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.gguf");
    let template = thinking::ThinkingMode::OnRequest.template();
    let template = engine::gguf::Value::String(template);
    let engine = edit::Gguf::read(&demo).with("tokenizer.chat_template", template).start().unwrap();
    let close = engine.tokenizer().encode("</think>").unwrap();
    let [close] = close[..] else { panic!("{close:?}") };
    let choices = ["yes", "no, not at all"].map(str::to_owned);
    let ask = |seed, thinking, bias| {
        let mut request = request(seed, Some(Constraint::Choice(choices.to_vec())));
        request.chat.enable_thinking = thinking;
        request.sampling.logit_bias = [(close, bias)].into();
        read(engine.submit(&request).unwrap()).unwrap()
    };
    for seed in 0..10 {
        // It is free to think, as long as it may write: a model that does not think comes to no end.
        let (text, end) = ask(seed, Some(true), -100.0);
        assert!(text.starts_with("<think>") && text.len() > 100, "{text:?}");
        assert_eq!(end.reason, StopReason::Length);
        // Once it has thought, the rule holds.
        let (text, end) = ask(seed, Some(true), 100.0);
        let answer = text.strip_prefix("<think></think>").unwrap_or_else(|| panic!("{text:?}"));
        assert!(choices.iter().any(|choice| choice == answer), "{text:?}");
        assert_eq!(end.reason, StopReason::EndOfTurn, "{text:?}");
    }
    for thinking in [None, Some(false)] {
        let (text, _) = ask(3, thinking, 0.0);
        assert!(choices.contains(&text), "{text:?}");
    }
}
