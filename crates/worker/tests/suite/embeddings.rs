//! Tasks that ask for embeddings.

use protocol::{ErrorType, Prompt};
use serde_json::Value;

use crate::rig::{Rig, fixture};

const MODEL: &str = "embedding/embedding.gguf";

/// Texts with their tokens and their embeddings by transformers.
fn cases() -> Vec<(String, Vec<u32>, Vec<f32>)> {
    let text = std::fs::read_to_string(fixture("embedding/embedding.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let case = |case: &Value| {
        (
            case["text"].as_str().unwrap().to_owned(),
            serde_json::from_value(case["tokens"].clone()).unwrap(),
            serde_json::from_value(case["embedding"].clone()).unwrap(),
        )
    };
    json["prompts"].as_array().unwrap().iter().map(case).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-4, "off by {off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_input_is_embedded_in_its_order() {
    let rig = Rig::start(MODEL, &[]).await;
    // Many times the engine's batch, alternately as text and as tokens.
    let cases = cases();
    let many: Vec<_> = cases.iter().cycle().take(50).collect();
    let input =
        |(place, (text, tokens, _)): (usize, &&(String, Vec<u32>, Vec<f32>))| match place % 2 {
            0 => Prompt::Raw(text.clone()),
            _ => Prompt::Tokens(tokens.clone()),
        };
    let inputs: Vec<Prompt> = many.iter().enumerate().map(input).collect();
    let done = rig.complete(&rig.embedding(inputs, None)).await;
    assert_eq!(done.embeddings.len(), many.len());
    for (found, (_, _, expected)) in done.embeddings.iter().zip(&many) {
        assert_near(&found.0, expected);
    }
    let tokens: usize = many.iter().map(|(_, tokens, _)| tokens.len()).sum();
    assert_eq!((done.usage.prompt_tokens, done.usage.completion_tokens), (tokens as u32, 0));
    assert!(done.usage.cached_tokens > 0, "repeated inputs are found in the prefix cache");
    assert_eq!(done.first.text, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_dimensions_are_kept_and_scaled_to_length_one() {
    let rig = Rig::start(MODEL, &[]).await;
    let (text, _, expected) = &cases()[0];
    let found = rig.vectors(vec![Prompt::Raw(text.clone())], Some(16)).await;
    let length = expected[..16].iter().map(|x| x * x).sum::<f32>().sqrt();
    let expected: Vec<f32> = expected[..16].iter().map(|x| x / length).collect();
    assert_near(&found[0], &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_embedding_model_can_not_do_is_refused() {
    let rig = Rig::start(MODEL, &[]).await;
    let text = || Prompt::Raw("a".into());
    let long = Prompt::Tokens(vec![1; 5_000]);
    let unknown = Prompt::Tokens(vec![1 << 30]);
    let (invalid, too_long) = (ErrorType::InvalidRequest, ErrorType::ContextLengthExceeded);
    for (task, kind, param, message) in [
        (rig.task(text(), 5), invalid, Some("model"), "model embedding makes embeddings"),
        (rig.embedding(vec![], None), invalid, Some("input"), "no input"),
        (rig.embedding(vec![text()], Some(65)), invalid, Some("dimensions"), "from 1 to 64"),
        (
            rig.embedding(vec![text(), unknown], None),
            invalid,
            Some("input"),
            "inputs[1]: token 1073741824 is unknown",
        ),
        (rig.embedding(vec![text(), long], None), too_long, None, "5000 tokens"),
    ] {
        let error = rig.fail(&task).await;
        assert_eq!((error.error_type, error.param.as_deref()), (kind, param), "{error:?}");
        assert!(error.message.contains(message), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_generates_makes_no_embeddings() {
    let rig = Rig::start("qwen3/qwen3-q8_0.gguf", &[]).await;
    let error = rig.fail(&rig.embedding(vec![Prompt::Raw("a".into())], None)).await;
    assert_eq!(error.error_type, ErrorType::InvalidRequest);
    assert_eq!(error.param.as_deref(), Some("model"));
    assert!(error.message.contains("qwen3-q8_0 generates text"), "{error:?}");
}
