//! The form in which scripts take a charge and return the levels of its meters (`scripts/lib/meters.lua`).

use std::borrow::Cow;

use protocol::{KeyId, Task, Timestamp};

use super::reply::Reply;
use crate::NO_KEY;
use crate::meters::{self, Level};
use crate::{BrokerError, Charge, Exhausted, Meter, MeterKind, Reading};

/// The period of the requests that share a subject's meters with the other kinds, in seconds.
const MINUTE_S: u32 = 60;
/// Levels of rates are returned in nanoseconds.
const NS_PER_MS: f64 = 1e6;

/// Returns the charge of a submit; empty if there is nothing to keep or to check.
pub(super) fn of_submit<'a>(task: &Task, charge: &'a Charge) -> Cow<'a, [u8]> {
    match charge.payer.encoded(encode) {
        Some(encoded) => encoded.into(),
        None if task.prompt.images() > 0 => encode(None, &[]).into(),
        None => Cow::Borrowed(&[]),
    }
}

/// Returns the charge with which only the levels of meters are read.
pub(super) fn of_reading(meters: &[Meter]) -> Vec<u8> {
    encode(None, meters)
}

fn encode(key: Option<&KeyId>, meters: &[Meter]) -> Vec<u8> {
    let mut names = Vec::<String>::new();
    let mut limits = Vec::new();
    for meter in meters {
        let name = subject(meter);
        let nth = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        // A rate of zero has no finite cost. No level is below this capacity.
        let (unit, capacity) =
            if meter.limit == 0 { (1.0, -1.0) } else { (meter.unit(), meter.capacity()) };
        limits.push(u8::try_from(nth + 1).unwrap_or(u8::MAX)); // an owner has few subjects
        limits.push(place(meter.kind));
        limits.extend(unit.to_le_bytes());
        limits.extend(capacity.to_le_bytes());
    }
    let mut encoded = word(key.map_or(NO_KEY, KeyId::as_str)).into_owned().into_bytes();
    for name in &names {
        encoded.push(b' ');
        encoded.extend(name.as_bytes());
    }
    encoded.push(b'|');
    encoded.extend(limits);
    encoded
}

/// Returns the place of a meter's level among those of its subject.
const fn place(kind: MeterKind) -> u8 {
    match kind {
        MeterKind::Requests { .. } => 1,
        MeterKind::Tokens => 2,
        MeterKind::InFlight => 4,
        MeterKind::DailyTokens => 6,
        MeterKind::DailyBatchTokens => 8,
    }
}

/// Returns the name of the subject whose meters have this one. Requests in other periods than a minute have meters of
/// their own.
fn subject(meter: &Meter) -> String {
    let name = word(&meter.subject);
    match meter.kind {
        MeterKind::Requests { period_s } if period_s != MINUTE_S => format!("{name}%/{period_s}"),
        _ => name.into_owned(),
    }
}

/// Returns a name as one word: what would end it is escaped.
fn word(name: &str) -> Cow<'_, str> {
    let ends = |c: char| c.is_whitespace() || c.is_control() || c == '|' || c == '%';
    if !name.is_empty() && !name.contains(ends) {
        return Cow::Borrowed(name);
    }
    let escape = |c: char| if ends(c) { format!("%{:x};", u32::from(c)) } else { c.to_string() };
    Cow::Owned(format!("%{}", name.chars().map(escape).collect::<String>()))
}

/// Parses the levels of meters, which are the rest of a reply.
fn levels(reply: &mut Reply, meters: &[Meter]) -> Result<Vec<Level>, BrokerError> {
    let level = |meter: &Meter| {
        let text = reply.text()?;
        let (level, used) = text.split_once(',').unwrap_or((&text, "0"));
        let number = |text: &str| {
            let failed = |error| BrokerError::Corrupt(format!("the level '{text}': {error}"));
            text.parse::<f64>().map_err(failed)
        };
        let level = number(level)?;
        let level = if meter.kind.period().is_some() { level / NS_PER_MS } else { level };
        Ok(Level { level, used: number(used)? })
    };
    meters.iter().map(level).collect()
}

/// Parses the levels of meters as readings.
pub(super) fn readings(
    reply: &mut Reply,
    meters: &[Meter],
    now: Timestamp,
) -> Result<Vec<Reading>, BrokerError> {
    let levels = levels(reply, meters)?;
    Ok(meters.iter().zip(levels).map(|(meter, at)| meter.reading(at, now)).collect())
}

/// Parses the refusal of a submit.
pub(super) fn refusal(reply: &mut Reply, charge: &Charge) -> Result<Exhausted, BrokerError> {
    let now = reply.instant()?;
    let levels = levels(reply, charge.meters())?;
    meters::refusal(charge.meters(), &levels, charge.tokens, now).ok_or_else(|| {
        BrokerError::Corrupt("a submit without limits was refused for one".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_subject_is_one_word_and_no_two_are_the_same() {
        let hour = MeterKind::Requests { period_s: 3_600 };
        let names = [
            "@",
            "%@",
            "a",
            "a b",
            "a%20;b",
            "",
            "%",
            "a\nb",
            "a\u{2003}b",
            "%a",
            "a|b",
            "a%/3600",
        ];
        let meter = |kind, name: &str| Meter { kind, subject: name.into(), limit: 1 };
        let words: std::collections::HashSet<_> = names
            .iter()
            .flat_map(|name| [meter(MeterKind::Tokens, name), meter(hour, name)])
            .map(|meter| subject(&meter))
            .collect();
        assert_eq!(words.len(), 2 * names.len());
        for word in words {
            assert_eq!(word.split_whitespace().collect::<Vec<_>>(), [&*word], "one word");
            assert!(!word.contains('|'), "{word}");
        }
    }

    #[test]
    fn a_charge_names_each_subject_once() {
        let meter = |kind, limit| Meter { kind, subject: "key_1".into(), limit };
        let meters = [meter(MeterKind::InFlight, 9), meter(MeterKind::Tokens, 0)];
        let mut expected = b"none key_1|\x01\x04".to_vec();
        expected.extend(1f64.to_le_bytes());
        expected.extend(meters[0].capacity().to_le_bytes());
        expected.extend([1, 2]);
        expected.extend(1f64.to_le_bytes());
        expected.extend((-1f64).to_le_bytes());
        assert_eq!(of_reading(&meters), expected);
    }
}
