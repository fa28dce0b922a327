//! Answers a task from the result cache, and stores answers there.

use std::time::Instant;

use chat::Usage;
use engine::text::AnswerStart;
use protocol::{CacheStatus, Completion, Outcome};

use super::verdict::Verdict;
use super::{Attempt, form};
use crate::answers::Answers;
use crate::results::{self, Searched, Slot, StoredAnswer, StoredAnswers};

/// Searches the cache for the answers to the task, if they may come from there.
pub(super) async fn search(attempt: &Attempt<'_>, adapter: Option<&str>) -> Option<Searched> {
    let began = Instant::now();
    let task = &attempt.claimed.task;
    let searched = results::search(attempt.worker, attempt.engine, task, adapter).await;
    if let Some(Searched::Found(_)) = &searched {
        attempt.phases.found(began);
    }
    searched
}

/// Answers the task with what was found. All tokens of the prompt count as cached, since none was computed.
pub(super) fn answer(
    attempt: &Attempt<'_>,
    found: StoredAnswers,
    answers: &mut Answers,
) -> Option<Verdict> {
    let StoredAnswers { usage, start, answers: stored } = found;
    let mut ends = Vec::with_capacity(stored.len());
    for (index, stored) in stored.into_iter().enumerate() {
        form::begin(attempt, answers, index, start);
        answers.choice(index).push(&stored.text, stored.logprobs);
        answers.choice(index).end();
        ends.push((stored.finish_reason, stored.stop_sequence));
    }
    let completion = form::completion(attempt, answers, ends)?;
    let usage = Usage { cached_tokens: usage.prompt_tokens, ..usage };
    let cache = Some(CacheStatus::Hit);
    Some(Verdict::Finish(Outcome::Completed(Completion { usage, cache, ..completion })))
}

/// Stores the answers of a generation that completed, which begin at `start`.
pub(super) async fn keep(
    attempt: &Attempt<'_>,
    slot: Slot,
    start: AnswerStart,
    completion: &mut Completion,
    answers: &mut Answers,
) {
    let stored = completion.choices().enumerate().map(|(index, choice)| StoredAnswer {
        text: answers.choice(index).text().to_owned(),
        logprobs: answers.choice(index).logprobs().content.clone(),
        finish_reason: choice.finish_reason,
        stop_sequence: choice.stop_sequence.clone(),
    });
    let stored = StoredAnswers { usage: completion.usage, start, answers: stored.collect() };
    results::store(attempt.worker, &attempt.claimed.task, slot, &stored).await;
    completion.cache = Some(CacheStatus::Miss);
}
