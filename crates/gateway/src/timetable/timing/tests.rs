use super::*;

fn at(text: &str) -> Timestamp {
    let at = DateTime::parse_from_rfc3339(text).unwrap();
    Timestamp::from_millis(u64::try_from(at.timestamp_millis()).unwrap())
}

fn timing(expression: &str, zone: &str) -> Timing {
    Timing::parse(expression, zone.parse().unwrap()).unwrap()
}

/// Returns the next occurrences after a time, in UTC.
fn following(timing: &Timing, after: &str, count: usize) -> Vec<String> {
    let mut at = at(after);
    (0..count)
        .map(|_| {
            at = timing.next(at).unwrap();
            shown(at)
        })
        .collect()
}

#[test]
fn an_expression_is_followed_in_its_time_zone() {
    let daily = timing("30 6 * * MON-FRI", "Europe/Oslo");
    // Friday, Monday; winter: an hour ahead of UTC.
    let expected = ["2026-11-27T05:30:00Z", "2026-11-30T05:30:00Z"];
    assert_eq!(following(&daily, "2026-11-26T05:30:00Z", 2), expected);
    assert_eq!(shown(daily.latest(at("2026-11-30T05:29:59.999Z")).unwrap()), expected[0]);
    assert_eq!(shown(daily.latest(at("2026-11-30T05:30:00.000Z")).unwrap()), expected[1]);
    let seconds = timing("*/20 * * * * *", "UTC");
    let expected = ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"];
    assert_eq!(following(&seconds, "2026-01-01T00:00:00.500Z", 3), expected);
    for (name, expected) in [
        ("@hourly", "2026-01-31T23:00:00Z"),
        ("@daily", "2026-02-01T00:00:00Z"),
        ("@weekly", "2026-02-01T00:00:00Z"),
        ("@monthly", "2026-02-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("0 12 L * *", "2026-02-28T12:00:00Z"),
    ] {
        assert_eq!(
            following(&timing(name, "UTC"), "2026-01-31T22:59:00Z", 1),
            [expected],
            "{name}"
        );
    }
}

#[test]
fn a_clock_put_forward_loses_no_daily_occurrence() {
    // In Oslo the hour from 02:00 to 03:00 is missing on 2026-03-29: 01:59:59 is followed by 03:00.
    let in_the_gap = timing("30 2 * * *", "Europe/Oslo");
    let days = following(&in_the_gap, "2026-03-27T12:00:00Z", 3);
    assert_eq!(days, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let hourly = timing("0 * * * *", "Europe/Oslo");
    let hours = following(&hourly, "2026-03-28T23:30:00Z", 3);
    assert_eq!(hours, ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
}

#[test]
fn a_clock_put_back_repeats_no_daily_occurrence() {
    // In Oslo the hour from 02:00 to 03:00 comes twice on 2026-10-25, first at 00:00 UTC.
    let twice = timing("30 2 * * *", "Europe/Oslo");
    let days = following(&twice, "2026-10-24T12:00:00Z", 2);
    assert_eq!(days, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let half_hourly = timing("*/30 * * * *", "Europe/Oslo");
    let expected = [
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:00:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-25T02:00:00Z",
    ];
    assert_eq!(following(&half_hourly, "2026-10-25T00:00:00Z", 4), expected);
}

#[test]
fn expressions_that_are_invalid_or_never_match_are_refused() {
    for wrong in ["", "* * * *", "61 * * * *", "* * * * * * 2030", "@reboot", "a b c d e"] {
        let problem = Timing::parse(wrong, Tz::UTC).unwrap_err();
        assert!(problem.contains("is not a cron expression"), "{wrong}: {problem}");
    }
    assert!(Timing::parse("0 0 30 2 *", Tz::UTC).unwrap_err().contains("never matches"));
}

#[test]
fn jitter_is_bounded_and_the_same_everywhere() {
    let jitters: Vec<u64> =
        (0..1_000).map(|n| jitter_ms("a", Timestamp::from_millis(n * 60_000), 10)).collect();
    assert!(jitters.iter().all(|ms| *ms <= 10_000));
    assert!(jitters.iter().any(|ms| *ms < 500) && jitters.iter().any(|ms| *ms > 9_500));
    assert_eq!(jitters[7], jitter_ms("a", Timestamp::from_millis(7 * 60_000), 10));
    assert_eq!(jitter_ms("a", Timestamp::from_millis(1), 0), 0);
}
