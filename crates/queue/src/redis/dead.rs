//! Dead letters: list, replay, purge. `finish_and_claim.lua` writes them.

use protocol::{TaskId, Timestamp};
use redis::cmd;

use super::partition::Partition;
use super::reply::Reply;
use crate::stored::StoredLetter;
use crate::{BrokerError, DeadLetter, DeadLetterPage, MAX_DEAD_LETTERS, Purge};

/// The value stored under a dead task's id.
pub(super) enum Kept {
    /// The dead letter.
    Letter(Box<DeadLetter>),
    /// The letter was replayed, and this task was created.
    Replayed(TaskId),
}

/// Converts a letter's failures, one per line, to the array of a stored letter.
fn array(lines: &str) -> String {
    format!("[{}]", lines.trim_end().replace('\n', ","))
}

impl Partition {
    pub(super) async fn dead_letters(
        &self,
        page: &DeadLetterPage,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        let mut before = page.before;
        let limit = page.limit.min(usize::try_from(MAX_DEAD_LETTERS).unwrap_or(usize::MAX));
        let mut letters = Vec::new();
        // Repeat if some could not be read, so that only the last page is short.
        while letters.len() < limit {
            let asked = limit - letters.len();
            let mut call = self.scripts.dead_letters.prepare_invoke();
            call.key(self.keys.base()).key(self.keys.dead_letters());
            match before {
                Some(instant) => call.arg(instant.as_millis()),
                None => call.arg("+inf"),
            };
            call.arg(page.model.as_ref().map_or("", |model| model.as_str())).arg(asked);
            let mut reply = Reply::new("dead_letters", self.link.run(&call).await?);
            let mut found = 0;
            while !reply.is_read() {
                let letter = StoredLetter {
                    record: reply.text()?,
                    outcome: reply.text()?,
                    failures: array(&reply.text()?),
                    submitted_at: reply.instant()?,
                    died_at: reply.instant()?,
                };
                found += 1;
                before = Some(letter.died_at);
                match letter.read() {
                    Ok(letter) => letters.push(letter),
                    Err(error) => tracing::debug!(%error, "a dead letter can't be read"),
                }
            }
            if found < asked {
                break;
            }
        }
        Ok(letters)
    }

    /// Returns the value stored under a dead task's id.
    pub(super) async fn kept(&self, id: TaskId) -> Result<Option<Kept>, BrokerError> {
        type Row = (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<u64>,
            Option<u64>,
        );
        let mut read = cmd("HMGET");
        read.arg(self.keys.dead_letter(id)).arg("replayed");
        read.arg("record").arg("outcome").arg("failures").arg("submitted").arg("died");
        let row: Row = self.link.query(&read).await?;
        match row {
            (Some(new), ..) => new.parse().map(|new| Some(Kept::Replayed(new))).map_err(|error| {
                BrokerError::Corrupt(format!("the replay of {id}, '{new}': {error}"))
            }),
            (None, Some(record), Some(outcome), failures, Some(submitted), Some(died)) => {
                let letter = StoredLetter {
                    record,
                    outcome,
                    failures: array(&failures.unwrap_or_default()),
                    submitted_at: Timestamp::from_millis(submitted),
                    died_at: Timestamp::from_millis(died),
                };
                letter.read().map(|letter| Some(Kept::Letter(Box::new(letter))))
            }
            _ => Ok(None),
        }
    }

    /// Removes a letter whose task was submitted again as `new`, and stores the new id.
    pub(super) async fn replayed(&self, id: TaskId, new: TaskId) -> Result<(), BrokerError> {
        let mut call = self.scripts.replayed.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.dead_letters()).key(self.keys.dead_letter(id));
        call.arg(id.to_string()).arg(new.to_string());
        self.link.run(&call).await.map(drop)
    }

    pub(super) async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError> {
        let mut call = self.scripts.purge.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.dead_letters());
        match which {
            Purge::One(id) => call.arg("one").arg(id.to_string()),
            Purge::Model(model) => call.arg("model").arg(model.as_str()),
            Purge::All => call.arg("all").arg(""),
        };
        Reply::new("purge", self.link.run(&call).await?).count()
    }
}
