use super::*;
use crate::timetable::entry_for_tests as entry;

const MINUTE: u64 = 60_000;

fn minute(n: u64) -> Timestamp {
    Timestamp::from_millis(n * MINUTE)
}

fn seconds_after(at: Timestamp, seconds: u64) -> Timestamp {
    at + Duration::from_secs(seconds)
}

/// Returns an entry that is due every minute, with a grace of 30 s.
fn every_minute(missed: Missed) -> Entry {
    Entry { missed, grace: Duration::from_secs(30), ..entry("every-minute", "* * * * *") }
}

fn run(occurrence: u64, skipped: u64) -> Due {
    Due::Run { occurrence: minute(occurrence), skipped }
}

#[test]
fn an_occurrence_is_due_from_its_time_on() {
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let entry = every_minute(missed);
        let now = Timestamp::from_millis(8 * MINUTE - 1);
        assert_eq!(due(&entry, minute(7), now), Due::Nothing(Some(minute(8))));
        assert_eq!(due(&entry, minute(7), minute(8)), run(8, 0));
        let within_the_grace = seconds_after(minute(8), 29);
        assert_eq!(due(&entry, minute(7), within_the_grace), run(8, 0));
        assert_eq!(due(&entry, minute(8), within_the_grace), Due::Nothing(Some(minute(9))));
    }
}

#[test]
fn a_clock_set_back_repeats_nothing() {
    let entry = every_minute(Missed::All);
    assert_eq!(due(&entry, minute(70), minute(10)), Due::Nothing(Some(minute(71))));
}

#[test]
fn missed_occurrences_are_skipped() {
    let entry = every_minute(Missed::Skip);
    // 8 to 19 are later than the grace allows; 20 is on time.
    let now = seconds_after(minute(20), 10);
    let skip = Due::Skip { to: minute(19), skipped: 12 };
    assert_eq!(due(&entry, minute(7), now), skip);
    assert_eq!(due(&entry, minute(19), now), run(20, 0));
    let late = seconds_after(minute(20), 31);
    assert_eq!(due(&entry, minute(7), late), Due::Skip { to: minute(20), skipped: 13 });
    assert_eq!(due(&entry, minute(20), late), Due::Nothing(Some(minute(21))));
}

#[test]
fn missed_occurrences_are_made_up_for_once() {
    let entry = every_minute(Missed::Once);
    for seconds in [10, 31] {
        let now = seconds_after(minute(20), seconds);
        assert_eq!(due(&entry, minute(7), now), run(20, 12), "the one on time counts as that run");
        assert_eq!(due(&entry, minute(20), now), Due::Nothing(Some(minute(21))));
    }
}

#[test]
fn missed_occurrences_are_all_made_up_for_within_the_bound() {
    let entry = Entry { max_missed: 5, ..every_minute(Missed::All) };
    let now = seconds_after(minute(20), 10);
    let mut reached = minute(7);
    let mut runs = Vec::new();
    while let Due::Run { occurrence, skipped } = due(&entry, reached, now) {
        runs.push((occurrence.as_millis() / MINUTE, skipped));
        reached = occurrence;
    }
    // Five missed ones, the oldest of them with those before them skipped; then the one on time.
    assert_eq!(runs, [(15, 7), (16, 0), (17, 0), (18, 0), (19, 0), (20, 0)]);
}

#[test]
fn a_long_outage_of_a_frequent_entry_is_decided_at_once() {
    let month = seconds_after(minute(0), 31 * 86_400);
    for (missed, expected) in [
        (Missed::Skip, None),
        (Missed::Once, Some(month)),
        (Missed::All, Some(seconds_after(minute(0), 31 * 86_400 - 31 - 9))),
    ] {
        let entry = Entry { max_missed: 10, ..every_minute(missed) };
        let entry = Entry { timing: entry_of_seconds().timing, ..entry };
        let begun = std::time::Instant::now();
        let decided = due(&entry, minute(0), month);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        match (decided, expected) {
            (Due::Skip { skipped, .. }, None) => assert_eq!(skipped, MAX_COUNTED),
            (Due::Run { occurrence, .. }, Some(expected)) => {
                assert!(
                    occurrence.seconds_since(expected) < 2.0
                        && expected.seconds_since(occurrence) < 2.0
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

fn entry_of_seconds() -> Entry {
    entry("every-second", "* * * * * *")
}

#[test]
fn jitter_puts_an_occurrence_off_by_the_same_time_everywhere() {
    let entry = Entry { jitter_s: 40, ..every_minute(Missed::Skip) };
    let at = starts(&entry, minute(8));
    assert!(at >= minute(8) && at <= seconds_after(minute(8), 40));
    let just_before = Timestamp::from_millis(at.as_millis() - 1);
    assert_eq!(due(&entry, minute(7), just_before), Due::Nothing(Some(at)));
    assert_eq!(due(&entry, minute(7), at), run(8, 0));
    // The grace begins when the last jitter has ended.
    assert_eq!(due(&entry, minute(7), seconds_after(minute(8), 69)), run(8, 0));
}
