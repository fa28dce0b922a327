//! Dead letters: tasks that used up their attempts, kept for an operator.

use protocol::{ModelId, TaskId, Timestamp};
use rusqlite::{Row, named_params, params};

use super::column::{Key, instant, key, millis, span_millis, task_id, unsigned};
use super::store::Tx;
use super::submit;
use crate::stored::StoredLetter;
use crate::{
    BrokerError, DEAD_LETTER_TTL, DeadLetter, DeadLetterPage, MAX_DEAD_LETTERS, Purge, Submitted,
    replay,
};

/// Stores a task that is about to fail with this outcome as a dead letter, and deletes the oldest beyond
/// the limit. No two letters have the same instant, so a page can begin where another ended.
pub(super) fn write(
    tx: &Tx<'_>,
    id: TaskId,
    outcome: &str,
    now: Timestamp,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO letters (task, model, record, outcome, failures, submitted, died)
             SELECT id, model, record, ?3, failures, submitted,
                    max(?2, (SELECT coalesce(max(died), 0) + 1 FROM letters))
             FROM tasks WHERE id = ?1",
        )?
        .execute(params![key(id), millis(now), outcome])?;
    tx.sql
        .prepare_cached(
            "DELETE FROM letters WHERE task IN
                 (SELECT task FROM letters ORDER BY died DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([i64::try_from(MAX_DEAD_LETTERS).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// Returns the time before which letters have expired.
fn oldest(now: Timestamp) -> i64 {
    millis(now).saturating_sub(span_millis(DEAD_LETTER_TTL))
}

pub(super) fn count(tx: &Tx<'_>, now: Timestamp) -> Result<u64, BrokerError> {
    let count: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM letters WHERE died > ?1")?
        .query_row([oldest(now)], |row| row.get(0))?;
    Ok(unsigned(count))
}

/// Returns a page of letters, newest first. Skips letters that this version can't read.
pub(super) fn page(
    tx: &Tx<'_>,
    page: &DeadLetterPage,
    now: Timestamp,
) -> Result<Vec<DeadLetter>, BrokerError> {
    let stored = tx
        .sql
        .prepare_cached(
            "SELECT record, outcome, failures, submitted, died FROM letters
             WHERE died > :oldest AND died < :before AND (:model IS NULL OR model = :model)
             ORDER BY died DESC LIMIT :limit",
        )?
        .query_map(
            named_params! {
                ":oldest": oldest(now),
                ":before": page.before.map_or(i64::MAX, millis),
                ":model": page.model.as_ref().map(ModelId::as_str),
                ":limit": i64::try_from(page.limit).unwrap_or(i64::MAX),
            },
            stored_letter,
        )?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(stored.into_iter().filter_map(|letter| letter.read().ok()).collect())
}

/// Returns one letter.
pub(super) fn one(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<DeadLetter>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT record, outcome, failures, submitted, died FROM letters
         WHERE task = ?1 AND died > ?2",
    )?;
    let mut rows = query.query_map(params![key(id), oldest(now)], stored_letter)?;
    rows.next().transpose()?.map(StoredLetter::read).transpose()
}

fn stored_letter(row: &Row<'_>) -> rusqlite::Result<StoredLetter> {
    Ok(StoredLetter {
        record: row.get(0)?,
        outcome: row.get(1)?,
        failures: row.get(2)?,
        submitted_at: instant(row.get(3)?),
        died_at: instant(row.get(4)?),
    })
}

/// Submits a letter's task again and removes the letter.
pub(super) fn replay(
    tx: &mut Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<Submitted>, BrokerError> {
    if let Some(letter) = one(tx, id, now)? {
        let (task, options) = replay::again(&letter);
        let submitted = submit::submit(tx, &task, &options, now)?;
        purge(tx, &Purge::One(id), now)?;
        return Ok(Some(submitted));
    }
    let mut made = tx.sql.prepare_cached(
        "SELECT keys.task FROM keys JOIN tasks ON tasks.id = keys.task
         WHERE keys.key = ?1 AND keys.key GLOB 'replay:*'
           AND (tasks.expires IS NULL OR tasks.expires > ?2)",
    )?;
    let made = made
        .query_map(params![replay::key(id), millis(now)], |row| row.get::<_, Key>(0))?
        .next()
        .transpose()?;
    made.map(|made| submit::there(tx, task_id(made), false, now)).transpose()
}

/// Deletes letters and returns their number.
pub(super) fn purge(tx: &Tx<'_>, which: &Purge, now: Timestamp) -> Result<u64, BrokerError> {
    let (task, model) = match which {
        Purge::One(id) => (Some(key(*id)), None),
        Purge::Model(model) => (None, Some(model.as_str())),
        Purge::All => (None, None),
    };
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM letters WHERE died > ?1 AND (?2 IS NULL OR task = ?2)
                                   AND (?3 IS NULL OR model = ?3)",
        )?
        .execute(params![oldest(now), task, model])?;
    Ok(gone as u64)
}
