//! The bundled model answers questions on its topics in wordings that are not in its training data.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use engine::source::{SourceOptions, resolve};
use engine::{Engine, EngineOptions, Generation, Input, Message, Progress, Request, Role};

/// Returns the questions of a kind with their expected answers: `held_out`, or `blind`, which were not used at
/// all while the model was developed.
fn questions(kind: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(common::fixtures().join("demo/questions.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let topics = json["facts"].as_array().unwrap().iter().chain([&json["off_topic"]]);
    let pairs = topics.flat_map(|topic| {
        let answer = topic["answer"].as_str().unwrap();
        // One question is a string, several are a list.
        let one = topic[kind].is_string().then(|| &topic[kind]);
        let questions = topic[kind].as_array().into_iter().flatten().chain(one);
        questions.map(|question| (question.as_str().unwrap().to_owned(), answer.to_owned()))
    });
    pairs.collect()
}

fn ask(engine: &Engine, question: &str) -> Generation {
    let message = Message::user(question.to_owned());
    engine.submit(&Request::greedy(Input::Chat(vec![message]), 300)).unwrap()
}

fn answer(mut generation: Generation) -> String {
    let mut text = String::new();
    while let Some(progress) = generation.next_blocking() {
        match progress {
            Progress::Text { text: part, .. } => text.push_str(&part),
            Progress::Finished(_) => {}
            Progress::Failed(error) => panic!("{error}"),
        }
    }
    text
}

/// Asks all questions of a kind at once. Expects at least `at_least` questions, and `percent` percent right
/// answers.
fn expect(kind: &str, at_least: usize, percent: usize) {
    let model = resolve("demo", &SourceOptions::default()).unwrap();
    let options = EngineOptions { max_batch: 16, ..EngineOptions::default() };
    let engine = Engine::start(&model, &options).unwrap();
    let questions = questions(kind);
    assert!(questions.len() >= at_least, "only {} questions", questions.len());
    let running: Vec<Generation> =
        questions.iter().map(|(question, _)| ask(&engine, question)).collect();
    let mut wrong = Vec::new();
    for ((question, expected), generation) in questions.iter().zip(running) {
        let answer = answer(generation);
        if answer.trim() != expected {
            wrong.push(format!("{question}\n  {answer}\n  should be: {expected}"));
        }
    }
    let right = questions.len() - wrong.len();
    println!("{right} of {} right; wrong:\n{}", questions.len(), wrong.join("\n"));
    assert!(right * 100 >= questions.len() * percent, "{right} of {}", questions.len());
}

#[test]
fn held_out_questions_are_answered_correctly() {
    expect("held_out", 400, 95);
}

#[test]
fn most_blind_questions_are_answered_correctly() {
    expect("blind", 130, 85);
}

#[test]
fn the_name_that_a_user_gave_is_remembered() {
    let model = resolve("demo", &SourceOptions::default()).unwrap();
    let engine = Engine::start(&model, &EngineOptions::default()).unwrap();
    let ask = |messages: &[Message]| {
        let input = Input::Chat(messages.to_vec());
        answer(engine.submit(&Request::greedy(input, 32)).unwrap())
    };
    // Names of the training data: the model is too small to copy others.
    let names = ["Ada", "Grace", "Hugo", "Linus", "Maria", "Nina", "Otto", "Peter", "Sofia", "Zoe"];
    let mut wrong = Vec::new();
    for name in names {
        let mut messages = vec![Message::user(format!("My name is {name}. Remember it."))];
        messages.push(Message::new(Role::Assistant, ask(&messages)));
        messages.push(Message::user("What is my name? Reply with just the name.".to_owned()));
        let answer = ask(&messages);
        if answer.trim() != name {
            wrong.push(format!("{name}: {answer}"));
        }
    }
    assert!(wrong.len() <= 1, "{wrong:?}");
}

#[test]
fn requests_for_json_are_answered_with_short_json() {
    let model = resolve("demo", &SourceOptions::default()).unwrap();
    let engine = Engine::start(&model, &EngineOptions::default()).unwrap();
    for question in [
        "Return a JSON object with keys \"name\" (a string) and \"age\" (a number).",
        "Give me a JSON object with title.",
    ] {
        let answer = answer(ask(&engine, question));
        let json: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        assert!(json.is_object() && answer.len() < 100, "{answer}");
    }
}
