//! Computes the embeddings of a task's inputs.

use std::collections::VecDeque;

use chat::{Embedding, Usage};
use engine::api::{EmbedError, GenerateError, StopReason};
use protocol::{Completion, Outcome, Prompt};

use super::verdict::{Verdict, failed};
use super::{Attempt, End};
use crate::translate;

/// The embeddings so far, and their tokens.
#[derive(Default)]
struct Computed {
    embeddings: Vec<Embedding>,
    usage: Usage,
}

/// Computes the embeddings of `inputs` until all are there or the attempt is interrupted.
pub(super) async fn run(
    attempt: &Attempt<'_>,
    inputs: &[Prompt],
    dimensions: Option<u32>,
) -> (Verdict, End) {
    let claimed = attempt.claimed;
    let mut computed = Computed::default();
    // Dropping an embedding that is not computed yet cancels it in the engine.
    let result = tokio::select! {
        result = embed(attempt, inputs, dimensions, &mut computed) => Ok(result),
        () = attempt.cancel.cancelled() => Ok(Err(EmbedError::GivenUp(StopReason::Cancelled))),
        interruption = attempt.interrupted() => Err(interruption),
    };
    let Computed { embeddings, usage } = computed;
    let finish = |outcome| (Verdict::Finish(outcome), End::Settled);
    let (verdict, end) = match result {
        Ok(Ok(())) => {
            finish(Outcome::Completed(Completion { embeddings, ..Completion::default() }))
        }
        Ok(Err(EmbedError::Failed(error @ GenerateError::InvalidRequest(_)))) => {
            let failure = translate::failure(&error).about("input");
            (Verdict::of_failure(claimed, failure), End::Settled)
        }
        Ok(Err(EmbedError::Failed(error))) => failed(claimed, &error),
        Ok(Err(EmbedError::GivenUp(StopReason::Cancelled))) => finish(Outcome::CANCELLED),
        Ok(Err(EmbedError::GivenUp(_))) => {
            let (done, all) = (embeddings.len(), inputs.len());
            let progress = format!("{done} of {all} inputs: send fewer or shorter inputs");
            finish(Outcome::Failed(translate::out_of_time(&claimed.task, &progress)))
        }
        Err(interruption) => interruption,
    };
    (verdict.with_usage(usage), end)
}

/// Embeds all inputs, a limited number at a time.
async fn embed(
    attempt: &Attempt<'_>,
    inputs: &[Prompt],
    dimensions: Option<u32>,
    computed: &mut Computed,
) -> Result<(), EmbedError> {
    let Attempt { engine, claimed, deadline, .. } = *attempt;
    if inputs.is_empty() {
        return Err(GenerateError::InvalidRequest("there is no input to embed".to_owned()).into());
    }
    let at_once = translate::sequences(&claimed.task, engine.info().max_batch);
    let mut inputs = inputs.iter().enumerate();
    let mut pending = VecDeque::new();
    loop {
        if pending.len() <= at_once / 2 {
            let requests: Vec<_> = inputs
                .by_ref()
                .take(at_once - pending.len())
                .map(|(place, input)| {
                    let task = &claimed.task;
                    (place, translate::embed_request(task, input, dimensions, deadline))
                })
                .collect();
            let engine = engine.clone();
            let submit = move || {
                let submitted = requests.into_iter().map(|(place, request)| {
                    engine.embed(&request).map_err(|error| translate::of_input(place, error))
                });
                submitted.collect::<Result<Vec<_>, _>>()
            };
            // Tokenizing takes long, so it must not block the threads that renew leases.
            let submitted = tokio::task::spawn_blocking(submit).await;
            pending.extend(submitted.map_err(|panic| GenerateError::Compute(panic.to_string()))??);
        }
        let Some(next) = pending.pop_front() else { return Ok(()) };
        let done = next.wait().await?;
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        computed.embeddings.push(Embedding(done.vector));
        computed.usage.prompt_tokens += count(done.prompt_tokens);
        computed.usage.cached_tokens += count(done.cached_tokens);
    }
}
