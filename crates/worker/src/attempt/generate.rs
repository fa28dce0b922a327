//! Generates the answer to a task's prompt.

use std::time::Duration;

use engine::Generation;
use engine::api::{Finished, GenerateError, Progress, Request, StopReason};
use protocol::{Completion, Outcome};

use super::verdict::{Verdict, failed};
use super::{Attempt, End, publish};
use crate::answer::Answer;
use crate::translate;

/// The interval at which generated text is published.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Generates until the answer ends or the attempt is interrupted, and publishes the text of `answer` meanwhile.
/// `adapter` is the one to use, or `None` for the base model.
pub(super) async fn run(
    attempt: &Attempt<'_>,
    adapter: Option<String>,
    answer: &mut Answer,
) -> (Verdict, End) {
    let Attempt { engine, claimed, deadline, .. } = *attempt;
    let request = translate::request(&claimed.task, engine.sampling_defaults(), deadline);
    let request = Request { adapter, ..request };
    // Rendering and tokenizing a long prompt takes long, so it must not block the threads that
    // renew leases.
    let submitting = engine.clone();
    let submitted = tokio::task::spawn_blocking(move || submitting.submit(&request)).await;
    match submitted {
        Ok(Ok(generation)) => follow(attempt, generation, answer).await,
        Ok(Err(error)) => failed(claimed, &error),
        Err(panic) => failed(claimed, &GenerateError::Compute(panic.to_string())),
    }
}

/// Follows a generation to its end and publishes its text.
async fn follow(
    attempt: &Attempt<'_>,
    mut generation: Generation,
    answer: &mut Answer,
) -> (Verdict, End) {
    let Attempt { worker, claimed, .. } = *attempt;
    if let Some(format) = translate::parts(&claimed.task.form, generation.answer_start()) {
        answer.start_splitting(format, claimed.task.id);
    }
    let mut publish = tokio::time::interval(PUBLISH_EVERY);
    publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let interrupted = attempt.interrupted();
    tokio::pin!(interrupted);
    let mut cancelled = false;

    let (verdict, end) = loop {
        tokio::select! {
            progress = generation.next() => match progress {
                Some(Progress::Text { text, logprobs }) => answer.push(&text, logprobs),
                Some(Progress::Finished(finished)) => {
                    answer.end();
                    break (finished_verdict(attempt, answer, &finished), End::Settled);
                }
                Some(Progress::Failed(error)) => break failed(claimed, &error),
                None => break failed(claimed, &GenerateError::Stopped),
            },
            _ = publish.tick(), if answer.left() > 0 => {
                // A cancellation whose wake-up was missed is reported by the reply.
                if publish::hand_on(worker, claimed, answer).await {
                    attempt.cancel.cancel();
                }
            }
            () = attempt.cancel.cancelled(), if !cancelled => {
                cancelled = true;
                generation.cancel();
            }
            interruption = &mut interrupted => break interruption,
        }
    };
    (verdict.with_usage(generation.usage()), end)
}

fn finished_verdict(attempt: &Attempt<'_>, answer: &Answer, finished: &Finished) -> Verdict {
    let Attempt { engine, claimed, .. } = *attempt;
    let sampling = &claimed.task.sampling;
    let logprobs = sampling.logprobs.map(|_| answer.logprobs().clone());
    let outcome = match translate::completion(answer.text(), logprobs, answer.parts(), finished) {
        Some(completion) => Outcome::Completed(Completion {
            sampling_defaults: sampling.used_of(engine.sampling_defaults()),
            ..completion
        }),
        None if finished.reason == StopReason::Cancelled => Outcome::CANCELLED,
        None => {
            let progress = format!("{} tokens: ask for fewer tokens", finished.completion_tokens);
            Outcome::Failed(translate::out_of_time(&claimed.task, &progress))
        }
    };
    Verdict::Finish(outcome)
}
