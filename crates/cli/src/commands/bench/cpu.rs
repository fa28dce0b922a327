//! Processor time of processes: the cost of a task, measurable also on a machine that others use.

use std::time::Duration;

/// The unit of `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Returns a process's user and system time so far, or `None` where there is no `/proc`.
pub(super) fn of(pid: u32) -> Option<Duration> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Duration> {
    // The name in parentheses may contain anything. User and system time are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 132 153 0 0 20 0 5 0 100 1 1";
        assert_eq!(parse(stat), Some(Duration::from_millis(2850)));
        assert!(of(std::process::id()).is_some());
    }
}
