//! What a replay of a dead letter submits. Both brokers submit this and remove the letter.

use protocol::{Task, TaskId};

use crate::{Bounds, DeadLetter, Idempotency, Matches, SubmitOptions};

/// The letter's task under an id of its own, without bounds; its key makes every repetition of the
/// replay find the first one's task.
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

/// The idempotency key, of the task's tenant, that stands for the replay of `id`. What the gateway
/// passes on of a client's has another prefix.
pub(crate) fn key(id: TaskId) -> String {
    format!("replay:{id}")
}
