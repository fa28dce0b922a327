//! Counts the tokens of a task's prompt.

use chat::Usage;
use engine::api::GenerateError;
use protocol::{Completion, Outcome};

use super::verdict::{Verdict, failed};
use super::{Attempt, End};
use crate::translate;

/// Renders and tokenizes the prompt as a generation would. Nothing is sent to the compute thread.
pub(super) async fn run(attempt: &Attempt<'_>) -> (Verdict, End) {
    let Attempt { engine, claimed, deadline, .. } = *attempt;
    let request = translate::request(&claimed.task, 0, engine.sampling_defaults(), deadline);
    let engine = engine.clone();
    // Like every tokenization, on a thread that renews no leases. It ends by itself if it is not waited for.
    let counting = tokio::task::spawn_blocking(move || engine.count_prompt(&request));
    tokio::select! {
        counted = counting => match counted {
            Ok(Ok(tokens)) => {
                let prompt_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
                let usage = Usage { prompt_tokens, ..Usage::default() };
                let completion = Completion { usage, ..Completion::default() };
                (Verdict::Finish(Outcome::Completed(completion)), End::Settled)
            }
            Ok(Err(error)) => failed(claimed, &error),
            Err(panic) => failed(claimed, &GenerateError::Compute(panic.to_string())),
        },
        () = attempt.cancel.cancelled() => (Verdict::Finish(Outcome::CANCELLED), End::Settled),
        interruption = attempt.interrupted() => interruption,
    }
}
