//! Counts the tokens of a task's prompt.

use chat::Usage;
use engine::Engine;
use engine::api::Request;
use protocol::{Completion, Outcome};

use super::prepare::{self, GivenUp};
use super::verdict::Verdict;
use super::{Attempt, End};

/// Renders and tokenizes the prompt as a generation would. Nothing is sent to the compute thread, and no image is
/// encoded.
pub(super) async fn run(attempt: &Attempt<'_>) -> (Verdict, End) {
    let count = |engine: &Engine, requests: &[Request], _: GivenUp<'_>| {
        requests.first().map_or(Ok(0), |request| engine.count_prompt(request))
    };
    match prepare::run(attempt, None, count).await {
        Ok(counted) => {
            let prompt_tokens = u32::try_from(counted.submitted).unwrap_or(u32::MAX);
            let usage = Usage { prompt_tokens, ..Usage::default() };
            let completion = Completion { usage, ..Completion::default() };
            (Verdict::Finish(Outcome::Completed(completion)), End::Settled)
        }
        Err(end) => end,
    }
}
