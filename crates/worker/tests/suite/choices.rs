//! Tasks with several answers.

use std::time::Duration;

use protocol::{EventBody, FinishReason, Outcome, Prompt, Sampling, Task, TaskState};

use crate::rig::{Rig, slow};

const MODEL: &str = "qwen3/qwen3-q8_0.gguf";

/// Returns a task with `n` answers drawn at random.
fn drawn(rig: &Rig, n: u8, seed: Option<u64>) -> Task {
    let sampling =
        Sampling { temperature: Some(1.5), seed, logprobs: Some(1), ..Sampling::greedy() };
    let task = rig.task(Prompt::Tokens((1..40).collect()), 12);
    Task { n, sampling, ..task }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_what_its_seed_gives() {
    let rig = Rig::start(MODEL, &[]).await;
    let task = drawn(&rig, 5, Some(7));
    let id = rig.submit(&task).await;
    let Outcome::Completed(several) = rig.outcome(id).await else { panic!("not completed") };
    let choices: Vec<_> = several.choices().cloned().collect();
    assert_eq!(choices.len(), 5);
    let texts: std::collections::BTreeSet<&str> =
        choices.iter().map(|choice| &*choice.text).collect();
    assert_eq!(texts.len(), 5, "{texts:?}");
    let mut tokens = 0;
    for choice in &choices {
        let logprobs = choice.logprobs.as_ref().unwrap();
        tokens += logprobs.content.len() as u32;
        assert!(matches!(choice.finish_reason, FinishReason::Length | FinishReason::Stop));
    }
    // Tokens of the prompt count once.
    assert_eq!((several.usage.prompt_tokens, several.usage.completion_tokens), (39, tokens));

    // The events of each choice concatenate to its answer.
    let mut streamed = vec![(String::new(), Vec::new()); 5];
    for event in rig.events(id).await {
        if let EventBody::Token { chunk, .. } = event {
            let (text, logprobs) = &mut streamed[usize::from(chunk.choice)];
            text.push_str(&chunk.text);
            logprobs.extend(chunk.logprobs);
        }
    }
    for ((text, logprobs), choice) in streamed.iter().zip(&choices) {
        assert_eq!((text, logprobs), (&choice.text, &choice.logprobs.as_ref().unwrap().content));
    }

    // The first answer is that of a task with one, and others don't depend on how many there are.
    let one = rig.complete(&drawn(&rig, 1, Some(7))).await;
    assert_eq!((&one.first, one.further.len()), (&choices[0], 0));
    let two = rig.complete(&drawn(&rig, 2, Some(7))).await;
    assert_eq!(two.further, choices[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_attempt_generates_the_same_without_a_seed() {
    let rig = Rig::start(MODEL, &[]).await;
    let task = drawn(&rig, 2, None);
    let first = rig.complete(&task).await;
    // The same task in another queue stands for its next attempt.
    let other = Rig::start(MODEL, &[]).await;
    let next =
        other.complete(&Task { model: other.task(Prompt::default(), 1).model, ..task }).await;
    assert_eq!(first.choices().collect::<Vec<_>>(), next.choices().collect::<Vec<_>>());
    assert_ne!(first.first.text, rig.complete(&drawn(&rig, 1, None)).await.first.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_claimed_while_the_engine_is_full_of_one_with_several_answers() {
    let rig = Rig::start_with(slow(), &[("MAX_BATCH_SIZE", "4")]).await;
    let task = rig.task(Prompt::Tokens(vec![1, 2, 3]), 900);
    let several = rig.submit(&Task { n: 4, ..task }).await;
    rig.wait_for_text(several).await;
    let next = rig.submit(&rig.task(Prompt::Tokens(vec![1]), 2)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let state = rig.broker.snapshot(next).await.unwrap().unwrap().state;
    assert_eq!(state, TaskState::Queued);
    rig.broker.cancel(several).await.unwrap();
    assert!(matches!(rig.outcome(next).await, Outcome::Completed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_ends_all_answers() {
    let rig = Rig::start_with(slow(), &[]).await;
    let task = rig.task(Prompt::Tokens(vec![1, 2, 3]), 900);
    // More answers than the engine runs at once.
    let id = rig.submit(&Task { n: 6, ..task.clone() }).await;
    rig.wait_for_text(id).await;
    rig.broker.cancel(id).await.unwrap();
    let Outcome::Cancelled { usage } = rig.outcome(id).await else { panic!("not cancelled") };
    assert_eq!(usage.prompt_tokens, 3);
    assert!(usage.completion_tokens > 0, "{usage:?}");
    // The engine is free again.
    let next = rig.complete(&rig.task(task.prompt, 2)).await;
    assert_eq!(next.first.finish_reason, FinishReason::Length);
}
