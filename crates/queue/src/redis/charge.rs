//! The texts in which scripts take a charge and return the levels of its meters (`scripts/lib/charge.lua`).

use std::borrow::Cow;
use std::fmt::Write;

use protocol::{Task, Timestamp};

use super::reply::Reply;
use crate::NO_KEY;
use crate::meters::{self, Level};
use crate::{BrokerError, Charge, Exhausted, Meter, Reading};

/// Stands for a subject that is the key.
const AS_KEY: &str = "@";

/// Returns the charge of a submit without its tokens, or `None` if there is nothing to keep or to check.
pub(super) fn of_submit(task: &Task, charge: &Charge) -> Option<String> {
    let images = task.prompt.images();
    if images == 0 && charge.key.is_none() && charge.meters.is_empty() {
        return None;
    }
    let key = charge.key.as_ref().map_or(NO_KEY, |key| key.as_str());
    let mut text = format!("{images} {}", word(key));
    append(&mut text, key, &charge.meters);
    Some(text)
}

/// Returns the charge with which only the levels of meters are read.
pub(super) fn of_reading(meters: &[Meter]) -> String {
    let mut text = format!("0 {NO_KEY}");
    append(&mut text, NO_KEY, meters);
    text
}

fn append(text: &mut String, key: &str, meters: &[Meter]) {
    for meter in meters {
        let subject = if meter.subject == key { AS_KEY.into() } else { word(&meter.subject) };
        let kind = meter.kind.code();
        let _ = write!(text, " {kind} {} {subject}", meter.limit); // infallible
    }
}

/// Returns a name as one word other than [`AS_KEY`]: what would separate words is escaped.
fn word(name: &str) -> Cow<'_, str> {
    let separates = |c: char| c.is_whitespace() || c.is_control();
    if !name.is_empty() && name != AS_KEY && !name.contains(|c| separates(c) || c == '%') {
        return Cow::Borrowed(name);
    }
    let escape = |c: char| {
        if separates(c) || c == '%' { format!("%{:x};", u32::from(c)) } else { c.to_string() }
    };
    Cow::Owned(format!("%{}", name.chars().map(escape).collect::<String>()))
}

/// Parses the levels of meters, which are the rest of a reply.
fn levels(reply: &mut Reply, meters: &[Meter]) -> Result<Vec<Level>, BrokerError> {
    let level = |_| {
        let text = reply.text()?;
        let (level, used) = text.split_once(',').unwrap_or((&text, "0"));
        let number = |text: &str| {
            let failed = |error| BrokerError::Corrupt(format!("the level '{text}': {error}"));
            text.parse::<f64>().map_err(failed)
        };
        Ok(Level { level: number(level)?, used: number(used)? })
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
    let levels = levels(reply, &charge.meters)?;
    meters::exhausted(&charge.meters, &levels, charge.tokens, now).ok_or_else(|| {
        BrokerError::Corrupt("a submit within its limits was refused for one of them".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MeterKind;

    #[test]
    fn any_subject_is_one_word_and_no_two_are_the_same() {
        let names = ["@", "%@", "a", "a b", "a%20;b", "", "%", "a\nb", "a\u{2003}b", "%a", "%25;"];
        let words: std::collections::HashSet<_> = names.iter().map(|name| word(name)).collect();
        assert_eq!(words.len(), names.len());
        for word in words {
            assert_eq!(word.split_whitespace().collect::<Vec<_>>(), [&*word], "one word");
        }
        let meter = Meter { kind: MeterKind::Tokens, subject: "key_1".into(), limit: 9 };
        assert_eq!(of_reading(std::slice::from_ref(&meter)), "0 none t 9 key_1");
        let key = Some(protocol::KeyId::from_text("key_1"));
        let charge = Charge { key, tokens: 5, meters: vec![meter] };
        let mut text = "0 key_1".to_owned();
        append(&mut text, "key_1", &charge.meters);
        assert_eq!(text, "0 key_1 t 9 @");
    }
}
