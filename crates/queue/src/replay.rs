//! Builds the submit that replays a dead letter. Both brokers submit it and remove the letter.

use protocol::{Task, TaskId};

use crate::{Bounds, DeadLetter, Idempotency, Matches, SubmitOptions};

/// Returns the letter's task under a new id, and options without bounds. The idempotency key makes
/// every repetition of the replay return the first one's task.
pub(crate) fn again(letter: &DeadLetter) -> (Task, SubmitOptions) {
    let task = Task { id: TaskId::new(), ..letter.task.clone() };
    let idempotency = Idempotency {
        key: key(letter.task.id),
        body_hash: letter.task.id.to_string(),
        matches: Matches::Always,
    };
    let options = SubmitOptions {
        bounds: Bounds::NONE,
        idempotency: Some(idempotency),
        ..SubmitOptions::PLAIN
    };
    (task, options)
}

/// Returns the idempotency key, scoped to the task's tenant, for the replay of `id`. Client keys
/// that the gateway passes on have another prefix.
pub(crate) fn key(id: TaskId) -> String {
    format!("replay:{id}")
}
