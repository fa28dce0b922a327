//! The arithmetic of meters, which both stores share. `redis/scripts/lib` computes the same for Redis
//! (`meters.lua`, `charge.lua`, `settle.lua`).
//!
//! A meter has a *level*. A submit has room if the level plus its cost is at most the meter's capacity:
//!
//! | kind | level and capacity | cost |
//! |------|--------------------|------|
//! | requests, tokens per minute | milliseconds; the level falls by one each millisecond, the capacity is the period | `period / limit` for each task or token |
//! | in flight | tasks | 1 |
//! | tokens per day | tokens used and reserved | 1 for each token |
//!
//! The first is GCRA: the time plus the level is its theoretical arrival time, and its burst is the whole limit.

use std::time::Duration;

use protocol::Timestamp;

use crate::{Exhausted, Meter, MeterKind, Reading};

/// The period of [`MeterKind::Tokens`], and the factor from seconds to milliseconds.
const MINUTE_MS: f64 = 60_000.0;
const SECOND_MS: f64 = 1_000.0;

/// What rounding may add to a level, in milliseconds or tokens.
const SLACK: f64 = 1e-5;

/// After a refusal for tasks in flight: when one ends is unknown, so try again soon.
const IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);

/// The state of a meter, as it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Level {
    /// The level.
    pub(crate) level: f64,
    /// Of the daily kinds, the tokens of ended tasks; the rest of the level is reserved.
    pub(crate) used: f64,
}

impl MeterKind {
    /// Returns the name under which stores keep it.
    pub(crate) fn code(self) -> String {
        match self {
            Self::Requests { period_s } => format!("r{period_s}"),
            Self::Tokens => "t".to_owned(),
            Self::InFlight => "f".to_owned(),
            Self::DailyTokens => "d".to_owned(),
            Self::DailyBatchTokens => "b".to_owned(),
        }
    }

    /// Returns the kind of a name, if the end of a task settles it.
    pub(crate) fn of_settled(code: &str) -> Option<Self> {
        let kinds = [Self::Tokens, Self::InFlight, Self::DailyTokens, Self::DailyBatchTokens];
        kinds.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns whether it counts the tokens of the submit's day.
    pub(crate) const fn is_daily(self) -> bool {
        matches!(self, Self::DailyTokens | Self::DailyBatchTokens)
    }

    /// Returns whether the end of a task settles it.
    pub(crate) const fn is_settled(self) -> bool {
        !matches!(self, Self::Requests { .. })
    }

    /// Returns the period of a rate in milliseconds.
    pub(crate) fn period(self) -> Option<f64> {
        match self {
            Self::Requests { period_s } => Some(f64::from(period_s.max(1)) * SECOND_MS),
            Self::Tokens => Some(MINUTE_MS),
            _ => None,
        }
    }

    /// Returns what a submit that reserves `tokens` asks of it.
    const fn asked(self, tokens: u64) -> u64 {
        match self {
            Self::Requests { .. } | Self::InFlight => 1,
            Self::Tokens | Self::DailyTokens | Self::DailyBatchTokens => tokens,
        }
    }
}

impl Meter {
    /// Returns by how much one task or token raises the level; infinitely for a limit of 0.
    pub(crate) fn unit(&self) -> f64 {
        self.kind.period().map_or(1.0, |period| period / self.limit as f64)
    }

    /// Returns the highest level that it may have.
    pub(crate) fn capacity(&self) -> f64 {
        self.kind.period().unwrap_or(self.limit as f64) + SLACK
    }

    /// Returns by how much a submit that reserves `tokens` raises the level.
    pub(crate) fn cost(&self, tokens: u64) -> f64 {
        self.kind.asked(tokens) as f64 * self.unit()
    }

    /// Returns whether a submit that reserves `tokens` has room.
    pub(crate) fn has_room(&self, at: Level, tokens: u64) -> bool {
        at.level + self.cost(tokens) <= self.capacity()
    }

    /// Returns the state for callers.
    pub(crate) fn reading(&self, at: Level, now: Timestamp) -> Reading {
        let left = (self.capacity() - at.level).max(0.0) / self.unit();
        let reset = match self.kind {
            MeterKind::Requests { .. } | MeterKind::Tokens => span(at.level),
            MeterKind::InFlight => Duration::ZERO,
            MeterKind::DailyTokens | MeterKind::DailyBatchTokens if at.level > 0.0 => next_day(now),
            MeterKind::DailyTokens | MeterKind::DailyBatchTokens => Duration::ZERO,
        };
        Reading {
            meter: self.clone(),
            remaining: left as u64,
            reset,
            reserved: if self.kind.is_daily() { (at.level - at.used).max(0.0) as u64 } else { 0 },
        }
    }

    fn exhausted(&self, at: Level, tokens: u64, now: Timestamp) -> Exhausted {
        Exhausted {
            reading: self.reading(at, now),
            asked: self.kind.asked(tokens),
            retry_after: self.retry_after(at, tokens, now),
        }
    }

    /// Returns the time until a submit that reserves `tokens` fits; `None` if it never does.
    fn retry_after(&self, at: Level, tokens: u64, now: Timestamp) -> Option<Duration> {
        if self.cost(tokens) > self.capacity() {
            return None;
        }
        Some(match self.kind {
            MeterKind::Requests { .. } | MeterKind::Tokens => {
                span(at.level + self.cost(tokens) - self.capacity())
            }
            MeterKind::InFlight => IN_FLIGHT_RETRY,
            MeterKind::DailyTokens | MeterKind::DailyBatchTokens => next_day(now),
        })
    }
}

/// Returns the refusal of a submit, if a meter has no room for it: that of the meter which has room last.
pub(crate) fn exhausted(
    meters: &[Meter],
    levels: &[Level],
    tokens: u64,
    now: Timestamp,
) -> Option<Exhausted> {
    let full = meters.iter().zip(levels).filter(|(meter, at)| !meter.has_room(**at, tokens));
    let refusals = full.map(|(meter, at)| meter.exhausted(*at, tokens, now));
    refusals.max_by_key(|refusal| refusal.retry_after.unwrap_or(Duration::MAX))
}

/// Returns the refusal of a submit that a store refused: if all meters seem to have room, since levels are rounded on
/// their way, that of the meter with the least. `None` without meters.
pub(crate) fn refusal(
    meters: &[Meter],
    levels: &[Level],
    tokens: u64,
    now: Timestamp,
) -> Option<Exhausted> {
    let room = |(meter, at): &(&Meter, &Level)| {
        (meter.capacity() - at.level - meter.cost(tokens)) / meter.capacity()
    };
    exhausted(meters, levels, tokens, now).or_else(|| {
        let least = meters.iter().zip(levels).min_by(|a, b| room(a).total_cmp(&room(b)));
        least.map(|(meter, at)| meter.exhausted(*at, tokens, now))
    })
}

/// Returns the level of a meter after a task that reserved `tokens` has used `used`. Of a rate, `arrival` is the
/// theoretical arrival time right after the task's submit: what of its reservation has already drained is not given
/// back again, or the next tasks would get more than the limit.
pub(crate) fn settled(
    meter: &Meter,
    at: Level,
    (tokens, used): (u64, u64),
    arrival: Timestamp,
    now: Timestamp,
) -> Level {
    match meter.kind {
        MeterKind::Requests { .. } => at,
        MeterKind::Tokens => {
            let change = (used as f64 - tokens as f64) * meter.unit();
            let undrained = arrival.as_millis().saturating_sub(now.as_millis()) as f64;
            Level { level: (at.level + change.max(-undrained)).max(0.0), used: 0.0 }
        }
        MeterKind::InFlight => Level { level: (at.level - 1.0).max(0.0), used: 0.0 },
        MeterKind::DailyTokens | MeterKind::DailyBatchTokens => {
            let reserved = (at.level - at.used - tokens as f64).max(0.0);
            let used = at.used + used as f64;
            Level { level: used + reserved, used }
        }
    }
}

/// Returns milliseconds as a span, rounded up, so that whoever waits for it does not come too early.
fn span(millis: f64) -> Duration {
    Duration::from_millis((millis - SLACK).max(0.0).ceil() as u64)
}

fn next_day(now: Timestamp) -> Duration {
    let day = now.day();
    let next = protocol::Day::from_number(day.number() + 1).start();
    Duration::from_millis(next.as_millis().saturating_sub(now.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(20_786 * 86_400_000 + 43_200_000);

    fn meter(kind: MeterKind, limit: u64) -> Meter {
        Meter { kind, subject: "key".into(), limit }
    }

    fn at(level: f64) -> Level {
        Level { level, used: 0.0 }
    }

    #[test]
    fn a_rate_grants_exactly_its_limit_in_any_portions() {
        for limit in [1, 7, 600, 999_983, 1_000_000, 1_000_000_000] {
            for portion in [1, 3, 1_000] {
                let tokens = meter(MeterKind::Tokens, limit);
                let (mut level, mut granted) = (0.0, 0);
                while granted < 3_000_000 && tokens.has_room(at(level), portion) {
                    level += tokens.cost(portion);
                    granted += portion;
                }
                let exact =
                    (limit / portion * portion).min(3_000_000_u64.next_multiple_of(portion));
                assert_eq!(granted, exact, "{limit} in portions of {portion}");
                let left = tokens.reading(at(level), NOON).remaining;
                assert_eq!(left, limit - granted, "{limit} in portions of {portion}");
            }
        }
    }

    #[test]
    fn the_refusal_is_of_the_meter_that_has_room_last() {
        let meters = [
            meter(MeterKind::Requests { period_s: 60 }, 600),
            meter(MeterKind::Tokens, 1_000),
            meter(MeterKind::DailyTokens, 10_000),
        ];
        let refusal = |levels: [f64; 3], tokens| exhausted(&meters, &levels.map(at), tokens, NOON);
        assert_eq!(refusal([0.0; 3], 1_000), None);
        let of = |refusal: Option<Exhausted>| {
            let refusal = refusal.unwrap();
            (refusal.reading.meter.kind, refusal.asked, refusal.retry_after)
        };
        let requests = MeterKind::Requests { period_s: 60 };
        let tenth = Some(Duration::from_millis(100));
        assert_eq!(of(refusal([60_000.0, 0.0, 0.0], 9)), (requests, 1, tenth));
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(
            of(refusal([60_000.0, 30_000.0, 0.0], 600)),
            (MeterKind::Tokens, 600, seconds(6))
        );
        let noon = seconds(43_200);
        assert_eq!(of(refusal([60_000.0, 0.0, 9_500.0], 600)), (MeterKind::DailyTokens, 600, noon));
        assert_eq!(of(refusal([0.0, 0.0, 9_500.0], 1_001)), (MeterKind::Tokens, 1_001, None));
    }

    #[test]
    fn what_has_drained_is_not_given_back() {
        let tokens = meter(MeterKind::Tokens, 60_000); // one each millisecond
        let later = |ms| NOON + Duration::from_millis(ms);
        // Reserved alone: 50,000 tokens, of which 20,000 drain before the end.
        let arrival = later(50_000);
        let end = |level, used| settled(&tokens, at(level), (50_000, used), arrival, later(20_000));
        assert_eq!(end(30_000.0, 0), at(0.0));
        assert_eq!(end(30_000.0, 45_000), at(25_000.0));
        assert_eq!(end(30_000.0, 70_000), at(50_000.0), "the use beyond is taken");
        // Another task has reserved 30,000 since: its reservation stays.
        assert_eq!(end(60_000.0, 0), at(30_000.0));
        let drained = settled(&tokens, at(9_000.0), (50_000, 0), arrival, later(60_000));
        assert_eq!(drained, at(9_000.0));
    }

    #[test]
    fn a_day_counts_used_and_reserved_tokens() {
        let day = meter(MeterKind::DailyTokens, 100);
        let reserved = Level { level: 70.0, used: 10.0 };
        let reading = day.reading(reserved, NOON);
        assert_eq!((reading.remaining, reading.reserved), (30, 60));
        assert_eq!(reading.reset, Duration::from_secs(43_200));
        let end = settled(&day, reserved, (60, 25), NOON, NOON);
        assert_eq!(end, Level { level: 35.0, used: 35.0 });
        let twice = settled(&day, end, (60, 25), NOON, NOON);
        assert_eq!(twice, Level { level: 60.0, used: 60.0 }, "nothing is reserved below zero");
    }
}
