//! Generates the answers to a task's prompt.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use chat::Usage;
use engine::api::{Finished, Progress, Request, StopReason};
use engine::{Engine, Generation};
use protocol::Outcome;

use super::prepare::{self, GivenUp, Prepared};
use super::verdict::{Verdict, failed};
use super::{Attempt, End, cached, form, publish, skill};
use crate::answers::Answers;
use crate::measure::Pace;
use crate::results::Searched;
use crate::translate;

/// The interval at which generated text is published.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Generates until all answers end or the attempt is interrupted, and publishes the text of `answers` meanwhile.
/// `adapter` is the one to use, or `None` for the base model.
pub(super) async fn run(
    attempt: &Attempt<'_>,
    adapter: Option<String>,
    answers: &mut Answers,
) -> (Verdict, End) {
    let submit = |engine: &Engine, requests: &[Request], given_up: GivenUp<'_>| {
        requests.iter().map(|request| engine.submit_unless(request, given_up)).collect()
    };
    let searched = cached::search(attempt, adapter.as_deref()).await;
    let slot = match searched {
        Some(Searched::Found(found)) => {
            if let Some(verdict) = cached::answer(attempt, *found, answers) {
                return read_by_skill(attempt, adapter, answers, verdict).await;
            }
            None
        }
        Some(Searched::Nothing(slot)) => Some(slot),
        None => None,
    };
    let prepared = prepare::run(attempt, adapter, submit).await;
    let Prepared::<Vec<Generation>> { submitted, pictures } = match prepared {
        Ok(prepared) => prepared,
        Err(end) => return end,
    };
    attempt.phases.submitted();
    let start = submitted.first().map(Generation::answer_start);
    let (mut verdict, end) = follow(attempt, submitted, answers).await;
    attempt.phases.generated();
    if let Verdict::Finish(Outcome::Completed(completion)) = &mut verdict
        && let (Some(slot), Some(start)) = (slot, start)
    {
        cached::keep(attempt, slot, start, completion, answers).await;
    }
    match verdict {
        Verdict::Finish(Outcome::Completed(completion)) if attempt.claimed.task.skill.is_some() => {
            // Readers have all text before it is read.
            publish::flush(attempt.worker, attempt.claimed, answers).await;
            skill::run(attempt, &pictures, completion).await
        }
        verdict => (verdict, end),
    }
}

/// Lets the task's skill, if it has one, read an answer from the result cache. It needs the sizes of the images.
async fn read_by_skill(
    attempt: &Attempt<'_>,
    adapter: Option<String>,
    answers: &mut Answers,
    verdict: Verdict,
) -> (Verdict, End) {
    match verdict {
        Verdict::Finish(Outcome::Completed(completion)) if attempt.claimed.task.skill.is_some() => {
            publish::flush(attempt.worker, attempt.claimed, answers).await;
            match prepare::run(attempt, adapter, |_, _, _| Ok(())).await {
                Ok(Prepared { pictures, .. }) => skill::run(attempt, &pictures, completion).await,
                Err(end) => end,
            }
        }
        verdict => (verdict, End::Settled),
    }
}

/// Follows the generations, one per answer, to their end and publishes their text.
async fn follow(
    attempt: &Attempt<'_>,
    mut generations: Vec<Generation>,
    answers: &mut Answers,
) -> (Verdict, End) {
    let Attempt { worker, engine, claimed, .. } = *attempt;
    let echo = translate::echo(&claimed.task, engine.tokenizer());
    for (index, generation) in generations.iter().enumerate() {
        form::begin(attempt, answers, index, generation.answer_start());
        if let Some(prompt) = &echo {
            answers.choice(index).push(prompt, Vec::new());
        }
    }
    let mut publish = tokio::time::interval(PUBLISH_EVERY);
    publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let interrupted = attempt.interrupted();
    tokio::pin!(interrupted);
    let mut cancelled = false;
    let mut pace = Pace::new(attempt.began);
    let mut ends: Vec<Option<Finished>> = vec![None; generations.len()];

    let (verdict, end) = loop {
        tokio::select! {
            progress = next_of(&mut generations) => match progress {
                Some((index, Progress::Text { text, logprobs })) => {
                    pace.text();
                    attempt.phases.text();
                    answers.choice(index).push(&text, logprobs);
                }
                Some((index, Progress::Finished(finished))) => {
                    answers.choice(index).end();
                    ends[index] = Some(finished);
                }
                Some((_, Progress::Failed(error))) => break failed(claimed, &error),
                None => break (verdict_of(attempt, answers, &ends), End::Settled),
            },
            _ = publish.tick(), if answers.left() > 0 => {
                // A cancellation whose wake-up was missed is reported by the reply.
                if publish::hand_on(worker, claimed, answers).await {
                    attempt.cancel.cancel();
                }
            }
            () = attempt.cancel.cancelled(), if !cancelled => {
                cancelled = true;
                generations.iter().for_each(Generation::cancel);
            }
            interruption = &mut interrupted => break interruption,
        }
    };
    let usage = usage_of(&generations);
    if let Verdict::Finish(Outcome::Completed(_)) = &verdict {
        pace.completed(claimed, usage.completion_tokens, generations.len());
    }
    (verdict.with_usage(usage), end)
}

/// Waits for the next progress of any of the generations; `None` after the end of all.
async fn next_of(generations: &mut [Generation]) -> Option<(usize, Progress)> {
    poll_fn(|context| {
        let mut ended = true;
        for (index, generation) in generations.iter_mut().enumerate() {
            match generation.poll_next(context) {
                Poll::Ready(Some(progress)) => return Poll::Ready(Some((index, progress))),
                Poll::Ready(None) => {}
                Poll::Pending => ended = false,
            }
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Returns the tokens of all answers so far, and of their prompt once.
fn usage_of(generations: &[Generation]) -> Usage {
    let each = || generations.iter().map(Generation::usage);
    let mut sum = Usage::NONE;
    each().for_each(|usage| sum += usage);
    let Usage { prompt_tokens, cached_tokens, .. } = each().next().unwrap_or_default();
    Usage { prompt_tokens, cached_tokens, ..sum }
}

/// Decides about generations that all have ended.
fn verdict_of(attempt: &Attempt<'_>, answers: &mut Answers, ends: &[Option<Finished>]) -> Verdict {
    let finished = || ends.iter().flatten();
    if finished().any(|end| end.reason == StopReason::Cancelled) {
        return Verdict::Finish(Outcome::CANCELLED);
    }
    let end = |end: &Finished| Some((translate::finish_reason(end.reason)?, end.stop.clone()));
    let whole: Option<Vec<_>> = finished().map(end).collect();
    Verdict::Finish(match whole.and_then(|ends| form::completion(attempt, answers, ends)) {
        Some(completion) => Outcome::Completed(completion),
        None => {
            let tokens: usize = finished().map(|end| end.completion_tokens).sum();
            let progress = format!("{tokens} tokens: ask for fewer tokens");
            Outcome::Failed(translate::out_of_time(&attempt.claimed.task, &progress))
        }
    })
}
