//! Tokens of reasoning, and those of tasks that end without an answer.

use engine::gguf::GgufFile;
use engine::text::Tokenizer;
use protocol::{Choice, ErrorType, Outcome, Prompt, Sampling, Task};

use crate::rig::{Rig, slow};

/// Returns a task that would take longer than any test.
fn endless(rig: &Rig) -> Task {
    rig.task(Prompt::Tokens(vec![1, 2, 3, 4, 5]), 3_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_keeps_its_usage() {
    let rig = Rig::start_with(slow(), &[]).await;
    let id = rig.submit(&endless(&rig)).await;
    rig.wait_for_text(id).await;
    rig.broker.cancel(id).await.unwrap();
    let Outcome::Cancelled { usage } = rig.outcome(id).await else { panic!("not cancelled") };
    assert_eq!(usage.prompt_tokens, 5);
    assert!((1..3_000).contains(&usage.completion_tokens), "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_exceeds_its_time_limit_keeps_its_usage() {
    let rig = Rig::start_with(slow(), &[]).await;
    let error = rig.fail(&Task { time_limit_s: 1, ..endless(&rig) }).await;
    assert_eq!(error.error_type, ErrorType::TimeLimitExceeded);
    assert_eq!(error.usage.prompt_tokens, 5);
    let tokens = error.usage.completion_tokens;
    let message = format!("the time limit of 1 s ran out after {tokens} tokens: ask for fewer");
    assert!(tokens > 0 && error.message.contains(&message), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_inside_the_thought_are_counted_over_all_answers() {
    let rig = Rig::start_with(slow(), &[]).await;
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(slow()).unwrap()).unwrap();
    let end = tokenizer.encode("</think>").unwrap();
    assert_eq!(end.len(), 1);
    let sampling = Sampling {
        temperature: Some(1.0),
        seed: Some(1),
        logprobs: Some(0),
        // Ends most thoughts, but not at once.
        logit_bias: [(end[0], 8.0)].into(),
        ..Sampling::default()
    };
    let asked = |prompt: &str| Task {
        n: 4,
        sampling: sampling.clone(),
        ..rig.task(Prompt::Raw(prompt.into()), 24)
    };
    let inside = |choice: &Choice| {
        let tokens = &choice.logprobs.as_ref().unwrap().content;
        let end = tokens.iter().position(|token| token.drawn.bytes == b"</think>");
        (end.is_some(), end.unwrap_or(tokens.len()))
    };
    let thinking = rig.complete(&asked("Hello <think>\n")).await;
    let thoughts: Vec<_> = thinking.choices().map(inside).collect();
    assert!(thoughts.iter().any(|(ends, tokens)| *ends && *tokens > 0), "{thoughts:?}");
    let tokens: usize = thoughts.iter().map(|(_, tokens)| tokens).sum();
    assert_eq!(thinking.usage.reasoning_tokens as usize, tokens, "{thoughts:?}");
    assert!(thinking.usage.reasoning_tokens < thinking.usage.completion_tokens);
    assert_eq!(rig.complete(&asked("Hello")).await.usage.reasoning_tokens, 0);
}
