//! Levels of meters: charges submits, and settles the charges of ended tasks.

use protocol::{Day, Task, Timestamp};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::column::millis;
use super::store::Tx;
use crate::meters::{self, Level};
use crate::{BrokerError, Charge, Meter, MeterKind, Reading};

/// The part of a charge that a task keeps for its end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Receipt {
    /// The key whose usage it counts for.
    pub(super) key: Option<String>,
    /// The images of its prompt.
    pub(super) images: u32,
    tokens: u64,
    day: u32,
    /// The limits that are settled: kind, amount and subject; of a rate also its arrival time after the submit.
    limits: Vec<(String, u64, String, u64)>,
}

/// Charges all meters, or refuses if one has no room. Returns what the task keeps, as JSON, and the meters' states.
pub(super) fn charge(
    tx: &Tx<'_>,
    task: &Task,
    charge: &Charge,
    now: Timestamp,
) -> Result<(Option<String>, Vec<Reading>), BrokerError> {
    let Charge { payer, tokens } = charge;
    let (key, meters) = (payer.key(), payer.meters());
    let images = u32::try_from(task.prompt.images()).unwrap_or(u32::MAX);
    if images == 0 && key.is_none() && meters.is_empty() {
        return Ok((None, Vec::new()));
    }
    let owner = task.tenant.as_str();
    let before = levels(tx, owner, meters, now)?;
    if let Some(refusal) = meters::exhausted(meters, &before, *tokens, now) {
        return Err(BrokerError::LimitReached(Box::new(refusal)));
    }
    let mut readings = Vec::with_capacity(meters.len());
    let mut limits = Vec::new();
    for (meter, at) in meters.iter().zip(before) {
        let at = Level { level: at.level + meter.cost(*tokens), ..at };
        store(tx, owner, meter, now.day(), at, now)?;
        readings.push(meter.reading(at, now));
        if meter.kind.is_settled() {
            let arrival = meter.kind.period().map_or(0, |_| now.as_millis() + at.level as u64);
            limits.push((meter.kind.code(), meter.limit, meter.subject.to_string(), arrival));
        }
    }
    let receipt = Receipt {
        key: key.map(|key| key.as_str().to_owned()),
        images,
        tokens: *tokens,
        day: now.day().number(),
        limits,
    };
    Ok((Some(crate::stored::json(&receipt)?), readings))
}

/// Settles the charge of a task of `owner` that ended after it had used `used` tokens.
pub(super) fn settle(
    tx: &Tx<'_>,
    owner: &str,
    receipt: &Receipt,
    used: u64,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let day = Day::from_number(receipt.day);
    for (code, limit, subject, arrival) in &receipt.limits {
        let Some(kind) = MeterKind::of_settled(code) else { continue };
        let meter = Meter { kind, subject: subject.as_str().into(), limit: *limit };
        if kind.is_daily() && day < now.day().before(1) {
            continue; // no longer kept
        }
        let at = level(tx, owner, &meter, day, now)?;
        let arrival = Timestamp::from_millis(*arrival);
        let at = meters::settled(&meter, at, (receipt.tokens, used), arrival, now);
        store(tx, owner, &meter, day, at, now)?;
    }
    Ok(())
}

/// Returns the levels of an owner's meters.
pub(super) fn levels(
    tx: &Tx<'_>,
    owner: &str,
    meters: &[Meter],
    now: Timestamp,
) -> Result<Vec<Level>, BrokerError> {
    meters.iter().map(|meter| level(tx, owner, meter, now.day(), now)).collect()
}

fn level(
    tx: &Tx<'_>,
    owner: &str,
    meter: &Meter,
    day: Day,
    now: Timestamp,
) -> Result<Level, BrokerError> {
    let stored: Option<(Level, i64)> = tx
        .sql
        .prepare_cached(
            "SELECT level, used, since FROM meters
             WHERE owner = ?1 AND subject = ?2 AND kind = ?3 AND day = ?4",
        )?
        .query_row(params![owner, &*meter.subject, meter.kind.code(), row_day(meter, day)], |row| {
            Ok((Level { level: row.get(0)?, used: row.get(1)? }, row.get(2)?))
        })
        .optional()?;
    Ok(match stored {
        // If the clock went back, the level falls from now on.
        Some((at, since)) if meter.kind.period().is_some() => {
            Level { level: (at.level - (millis(now) - since).max(0) as f64).max(0.0), ..at }
        }
        Some((at, _)) => at,
        None => Level::default(),
    })
}

fn store(
    tx: &Tx<'_>,
    owner: &str,
    meter: &Meter,
    day: Day,
    at: Level,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let (kind, row_day) = (meter.kind.code(), row_day(meter, day));
    if at.level <= 0.0 {
        tx.sql
            .prepare_cached(
                "DELETE FROM meters WHERE owner = ?1 AND subject = ?2 AND kind = ?3 AND day = ?4",
            )?
            .execute(params![owner, &*meter.subject, kind, row_day])?;
        return Ok(());
    }
    let expires = match meter.kind {
        MeterKind::Requests { .. } | MeterKind::Tokens => Some(millis(now) + at.level as i64 + 1),
        MeterKind::InFlight => None,
        MeterKind::DailyTokens | MeterKind::DailyBatchTokens => {
            Some(millis(Day::from_number(day.number() + 2).start()))
        }
    };
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO meters (owner, subject, kind, day, level, used, since, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            owner,
            &*meter.subject,
            kind,
            row_day,
            at.level,
            at.used,
            millis(now),
            expires
        ])?;
    Ok(())
}

fn row_day(meter: &Meter, day: Day) -> u32 {
    if meter.kind.is_daily() { day.number() } else { 0 }
}

/// Lets levels fall from now on that were stored by a clock which went back since. Otherwise a refused submit, which
/// stores nothing, would be refused until the clock is there again.
pub(super) fn clock_went_back(tx: &Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    tx.sql.execute("UPDATE meters SET since = ?1 WHERE since > ?1", [millis(now)])?;
    Ok(())
}

/// Deletes meters whose whole limit is left.
pub(super) fn purge(tx: &Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    tx.sql.prepare_cached("DELETE FROM meters WHERE expires <= ?1")?.execute([millis(now)])?;
    Ok(())
}
