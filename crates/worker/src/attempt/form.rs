//! The form of a task's answers, whether they are generated or from the result cache.

use chat::FinishReason;
use engine::text::AnswerStart;
use protocol::{Choice, Completion};

use super::Attempt;
use crate::answers::Answers;
use crate::translate;

/// Starts splitting an answer of the task, which begins at `start`, if its owner wants that.
pub(super) fn begin(
    attempt: &Attempt<'_>,
    answers: &mut Answers,
    index: usize,
    start: AnswerStart,
) {
    let task = &attempt.claimed.task;
    if let Some(format) = translate::parts(&task.form, start) {
        answers.choice(index).start_splitting(format, &task.form.tools, task.id, index);
    }
}

/// Returns the completion with answers that ended for these reasons, at these stop strings. `None` if there are none.
pub(super) fn completion(
    attempt: &Attempt<'_>,
    answers: &mut Answers,
    ends: Vec<(FinishReason, Option<String>)>,
) -> Option<Completion> {
    let sampling = &attempt.claimed.task.sampling;
    let choice = |(index, (finish_reason, stop)): (usize, (FinishReason, Option<String>))| {
        let answer = answers.choice(index);
        let logprobs = sampling.logprobs.map(|_| answer.logprobs().clone());
        translate::choice(answer.text(), logprobs, answer.parts(), finish_reason, stop)
    };
    let mut choices: Vec<Choice> = ends.into_iter().enumerate().map(choice).collect();
    if choices.is_empty() {
        return None;
    }
    Some(Completion {
        first: choices.remove(0),
        further: choices,
        sampling_defaults: sampling.used_of(attempt.engine.sampling_defaults()),
        ..Completion::default()
    })
}
