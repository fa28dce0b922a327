//! Generates the answers to a task's prompt.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use chat::Usage;
use engine::api::{Finished, Progress, Request, StopReason};
use engine::{Engine, Generation};
use protocol::{Choice, Completion, Outcome};

use super::prepare::{self, GivenUp, Prepared};
use super::verdict::{Verdict, failed};
use super::{Attempt, End, publish, skill};
use crate::answers::Answers;
use crate::measure::Pace;
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
    let Prepared { submitted, pictures } = match prepare::run(attempt, adapter, submit).await {
        Ok(prepared) => prepared,
        Err(end) => return end,
    };
    attempt.phases.submitted();
    let (verdict, end) = follow(attempt, submitted, answers).await;
    attempt.phases.generated();
    match verdict {
        Verdict::Finish(Outcome::Completed(completion)) if attempt.claimed.task.skill.is_some() => {
            // Readers have all text before it is read.
            publish::flush(attempt.worker, attempt.claimed, answers).await;
            skill::run(attempt, &pictures, completion).await
        }
        verdict => (verdict, end),
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
        if let Some(format) = translate::parts(&claimed.task.form, generation.answer_start()) {
            answers.choice(index).start_splitting(
                format,
                &claimed.task.form.tools,
                claimed.task.id,
                index,
            );
        }
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
    let completion_tokens = each().map(|usage| usage.completion_tokens).sum();
    let reasoning_tokens = each().map(|usage| usage.reasoning_tokens).sum();
    Usage { completion_tokens, reasoning_tokens, ..each().next().unwrap_or_default() }
}

/// Decides about generations that all have ended.
fn verdict_of(attempt: &Attempt<'_>, answers: &mut Answers, ends: &[Option<Finished>]) -> Verdict {
    let Attempt { engine, claimed, .. } = *attempt;
    let sampling = &claimed.task.sampling;
    let finished = || ends.iter().flatten();
    if finished().any(|end| end.reason == StopReason::Cancelled) {
        return Verdict::Finish(Outcome::CANCELLED);
    }
    let choice = |(index, end): (usize, &Finished)| {
        let answer = answers.choice(index);
        let logprobs = sampling.logprobs.map(|_| answer.logprobs().clone());
        let finish_reason = translate::finish_reason(end.reason)?;
        let (text, parts, stop) = (answer.text(), answer.parts(), end.stop.clone());
        Some(translate::choice(text, logprobs, parts, finish_reason, stop))
    };
    let choices: Option<Vec<Choice>> = finished().enumerate().map(choice).collect();
    Verdict::Finish(match choices {
        Some(mut choices) if !choices.is_empty() => Outcome::Completed(Completion {
            first: choices.remove(0),
            further: choices,
            sampling_defaults: sampling.used_of(engine.sampling_defaults()),
            ..Completion::default()
        }),
        _ => {
            let tokens: usize = finished().map(|end| end.completion_tokens).sum();
            let progress = format!("{tokens} tokens: ask for fewer tokens");
            Outcome::Failed(translate::out_of_time(&claimed.task, &progress))
        }
    })
}
