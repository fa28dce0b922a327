//! A row of figures per hour, or per longer period if the log has too many hours. So the number of rows is bounded
//! for any log, and no line is left out.

use std::collections::BTreeMap;

use crate::figures::Group;
use crate::line::Line;

/// The maximum number of rows: 16 days of hours, or 100 days of quarters.
pub(crate) const MAX_ROWS: usize = 400;
/// The widths in hours. Each is a multiple of the one before.
const WIDTHS: [i64; 8] = [1, 6, 24, 7 * 24, 28 * 24, 364 * 24, 3_640 * 24, 36_400 * 24];
const HOUR: i64 = 3_600;
/// The Monday at which weeks are counted from: 1970-01-05.
const ORIGIN: i64 = 4 * 24 * HOUR;

/// Groups of tasks by the time of their ends.
#[derive(Debug)]
pub(crate) struct Periods {
    /// The index of the current width.
    width: usize,
    /// By the number of the period since [`ORIGIN`].
    rows: BTreeMap<i64, Box<Group<u32>>>,
    /// The latest row, which the next line most likely belongs to.
    latest: Option<(i64, Box<Group<u32>>)>,
}

impl Periods {
    pub(crate) fn new() -> Self {
        Self { width: 0, rows: BTreeMap::new(), latest: None }
    }

    /// Returns the width of the periods in seconds.
    pub(crate) fn seconds(&self) -> i64 {
        WIDTHS[self.width] * HOUR
    }

    #[inline]
    pub(crate) fn add(&mut self, line: &Line<'_>) {
        let number = (line.at - ORIGIN).div_euclid(self.seconds());
        match &mut self.latest {
            Some((latest, group)) if *latest == number => group.add(line),
            _ => self.switch_to(number).add(line),
        }
    }

    fn switch_to(&mut self, mut number: i64) -> &mut Group<u32> {
        self.put_back();
        if !self.rows.contains_key(&number) && self.rows.len() >= MAX_ROWS {
            let start = number * self.seconds();
            while self.rows.len() >= MAX_ROWS && self.width + 1 < WIDTHS.len() {
                self.widen();
            }
            number = start.div_euclid(self.seconds());
        }
        let group = self.rows.remove(&number).unwrap_or_else(|| Box::new(Group::new(2)));
        &mut self.latest.insert((number, group)).1
    }

    fn put_back(&mut self) {
        self.rows.extend(self.latest.take());
    }

    fn widen(&mut self) {
        let narrow = self.seconds();
        self.width += 1;
        let wide = self.seconds();
        for (number, group) in std::mem::take(&mut self.rows) {
            self.merge_row((number * narrow).div_euclid(wide), group);
        }
    }

    fn merge_row(&mut self, number: i64, group: Box<Group<u32>>) {
        match self.rows.get_mut(&number) {
            Some(row) => row.merge(&group),
            None => drop(self.rows.insert(number, group)),
        }
    }

    /// Adds the rows of another thread.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.put_back();
        other.put_back();
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (number, group) in other.rows {
            self.merge_row(number, group);
        }
        while self.rows.len() > MAX_ROWS && self.width + 1 < WIDTHS.len() {
            self.widen();
        }
    }

    /// Returns the rows with the starts of their periods, in order of time.
    pub(crate) fn into_rows(mut self) -> impl Iterator<Item = (i64, Box<Group<u32>>)> {
        self.put_back();
        let seconds = self.seconds();
        self.rows.into_iter().map(move |(number, group)| (number * seconds + ORIGIN, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, plain};
    use crate::line;

    const START: i64 = 1_763_683_200; // 2025-11-21 00:00, a Friday

    fn add(periods: &mut Periods, at: i64) {
        let line = format!("[{}] task_id=a status=cancelled total_time=1.00s", plain(at));
        periods.add(&line::parse(line.as_bytes(), &mut Clock::default()).unwrap());
    }

    fn rows(periods: Periods) -> Vec<(String, u64)> {
        periods.into_rows().map(|(start, group)| (plain(start), group.tasks())).collect()
    }

    #[test]
    fn lines_are_grouped_by_hour_in_any_order() {
        let mut periods = Periods::new();
        for at in [3_599, 7_200, 0, 3_600, 7_201] {
            add(&mut periods, START + at);
        }
        let expected =
            [("2025-11-21 00:00:00", 2), ("2025-11-21 01:00:00", 1), ("2025-11-21 02:00:00", 2)];
        assert_eq!(rows(periods), expected.map(|(start, tasks)| (start.to_owned(), tasks)));
    }

    #[test]
    fn longer_logs_have_wider_periods_whether_one_thread_reads_them_or_two() {
        let day = 24 * HOUR;
        for (hours, expected, first) in [
            (400, HOUR, "2025-11-21 00:00:00"),
            (401, 6 * HOUR, "2025-11-21 00:00:00"),
            (24 * 90, 6 * HOUR, "2025-11-21 00:00:00"),
            (24 * 365, day, "2025-11-21 00:00:00"),
            (24 * 700, 7 * day, "2025-11-17 00:00:00"),
        ] {
            let (mut one, mut other, mut all) = (Periods::new(), Periods::new(), Periods::new());
            for hour in 0..hours {
                add(&mut all, START + hour * HOUR);
                // The second thread sees a few lines only, in the opposite order.
                if hour % 5 > 0 {
                    add(&mut one, START + hour * HOUR);
                } else {
                    add(&mut other, START + (hours - 1 - (hours - 1) % 5 - hour) * HOUR);
                }
            }
            one.merge(other);
            assert_eq!((all.seconds(), one.seconds()), (expected, expected), "{hours}");
            let (one, all) = (rows(one), rows(all));
            assert_eq!(one, all);
            assert_eq!(all.iter().map(|row| row.1).sum::<u64>(), hours as u64);
            assert_eq!(all[0].0, first);
            assert!(all.len() <= MAX_ROWS);
        }
    }

    #[test]
    fn rows_are_bounded_for_any_times() {
        let mut periods = Periods::new();
        let (first, last) = (-62_167_219_200, 253_402_300_799); // the years 0 to 9999
        for nth in 0..10_000 {
            add(&mut periods, first + (last - first) / 9_999 * (nth * 7_919 % 10_000));
            assert!(periods.rows.len() <= MAX_ROWS, "{}", periods.rows.len());
        }
        let rows = rows(periods);
        assert_eq!(rows.iter().map(|row| row.1).sum::<u64>(), 10_000);
        assert!(rows.len() > 50, "{}", rows.len());
    }
}
