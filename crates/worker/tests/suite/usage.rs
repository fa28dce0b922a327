//! What ends without an answer keeps the tokens that it took.

use protocol::{ErrorType, Outcome, Prompt, Task};

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
