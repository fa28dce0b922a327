//! Compares embeddings with Hugging Face transformers, and tests the API for them.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{Fixture, fixtures};
use engine::{
    EmbedError, EmbedRequest, Embedding, Engine, EngineOptions, GenerateError, Input, ModelFile,
    Request, StopReason,
};

/// A text, its tokens, and its embedding by transformers.
struct Case {
    text: String,
    tokens: Vec<u32>,
    embedding: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let path = fixtures().join("embedding/embedding.json");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let case = |case: &serde_json::Value| Case {
        text: case["text"].as_str().unwrap().to_owned(),
        tokens: serde_json::from_value(case["tokens"].clone()).unwrap(),
        embedding: serde_json::from_value(case["embedding"].clone()).unwrap(),
    };
    json["prompts"].as_array().unwrap().iter().map(case).collect()
}

fn start(options: &EngineOptions) -> Engine {
    let path = fixtures().join("embedding/embedding.gguf");
    Engine::start(&ModelFile::Path(path), options).unwrap()
}

fn request(input: Input) -> EmbedRequest {
    EmbedRequest { input, dimensions: None, deadline: None, tenant: "test".into(), priority: 0 }
}

fn embed(engine: &Engine, request: &EmbedRequest) -> Embedding {
    engine.embed(request).unwrap().wait_blocking().unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn embeddings_of_texts_and_tokens_equal_transformers() {
    let engine = start(&EngineOptions::default());
    assert_eq!(engine.info().embedding_length, Some(64));
    for case in cases() {
        for input in [Input::Text(case.text.clone()), Input::Tokens(case.tokens.clone())] {
            let found = embed(&engine, &request(input));
            let off = distance(&found.vector, &case.embedding);
            println!("{:?}: off by {off}", case.text);
            assert!(off <= 1e-4, "{:?}: off by {off}", case.text);
            assert_eq!(found.prompt_tokens, case.tokens.len());
        }
    }
}

/// All texts at once, each three times, in steps that split the long one.
#[test]
fn embeddings_do_not_depend_on_batch_load() {
    let options =
        EngineOptions { max_batch: 3, step_tokens: 40, kv_tokens: Some(256), ..Default::default() };
    let engine = start(&options);
    let cases = cases();
    let all = cases.iter().chain(&cases).chain(&cases);
    let pending: Vec<_> = all
        .map(|case| (case, engine.embed(&request(Input::Text(case.text.clone()))).unwrap()))
        .collect();
    let mut cached = 0;
    for (case, pending) in pending {
        assert_eq!(pending.prompt_tokens(), case.tokens.len());
        let found = pending.wait_blocking().unwrap();
        cached += found.cached_tokens;
        let off = distance(&found.vector, &case.embedding);
        assert!(off <= 1e-4, "{:?}: off by {off}", case.text);
    }
    assert!(cached > 0, "a repeated text is found in the prefix cache");
    assert_eq!(engine.load().running, 0);
}

#[test]
fn reduced_embeddings_are_truncated_and_normalised() {
    let engine = start(&EngineOptions::default());
    let case = &cases()[0];
    let request = EmbedRequest { dimensions: Some(16), ..request(Input::Text(case.text.clone())) };
    let found = embed(&engine, &request).vector;
    let length = case.embedding[..16].iter().map(|x| x * x).sum::<f32>().sqrt();
    let expected: Vec<f32> = case.embedding[..16].iter().map(|x| x / length).collect();
    assert!(distance(&found, &expected) <= 1e-4);
    for dimensions in [0, 65] {
        let request = EmbedRequest { dimensions: Some(dimensions), ..request.clone() };
        let error = engine.embed(&request).unwrap_err().to_string();
        assert!(error.contains("set it from 1 to 64"), "{error}");
    }
}

#[tokio::test]
async fn expired_and_dropped_requests_end_without_affecting_others() {
    let engine = start(&EngineOptions::default());
    let long = &cases()[5];
    let text = Input::Text(long.text.clone());
    let overdue = EmbedRequest { deadline: Some(Instant::now()), ..request(text.clone()) };
    let end = engine.embed(&overdue).unwrap().wait().await;
    assert_eq!(end, Err(EmbedError::GivenUp(StopReason::Deadline)));
    drop(engine.embed(&request(text.clone())).unwrap());
    let found = engine.embed(&request(text)).unwrap().wait().await.unwrap();
    assert!(distance(&found.vector, &long.embedding) <= 1e-4);
    let pending = engine.embed(&request(Input::Tokens(vec![1; 700]))).unwrap();
    engine.shutdown();
    // It may have finished before the shutdown.
    match pending.wait().await {
        Ok(found) => assert_eq!(found.vector.len(), 64),
        Err(error) => assert_eq!(error, EmbedError::Failed(GenerateError::Stopped)),
    }
}

#[test]
fn requests_that_do_not_match_the_model_kind_are_refused() {
    let engine = start(&EngineOptions::default());
    let answer = Request::greedy(Input::Text("x".into()), 4);
    let error = engine.submit(&answer).unwrap_err().to_string();
    assert!(error.contains("embedding model"), "{error}");
    let error = engine.embed(&request(Input::Tokens(vec![]))).unwrap_err().to_string();
    assert!(error.contains("the input is empty"), "{error}");
    let error = engine.embed(&request(Input::Tokens(vec![1; 2000]))).unwrap_err();
    let context =
        GenerateError::ContextLengthExceeded { prompt_tokens: 2000, context_length: 1024 };
    assert_eq!(error, context);

    let model = ModelFile::Path(Fixture::load("qwen3-f32").path());
    let generator = Engine::start(&model, &EngineOptions::default()).unwrap();
    assert_eq!(generator.info().embedding_length, None);
    let error = generator.embed(&request(Input::Text("x".into()))).unwrap_err().to_string();
    assert!(error.contains("Qwen3-Embedding"), "{error}");
}
