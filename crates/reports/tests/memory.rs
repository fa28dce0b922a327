//! Reads a log that is made to need much memory. In a process of its own, whose peak is measured.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests too

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reports::{Filter, Format, Input, Options, Report};

/// Writes lines of any time, model, owner, error and figure, some of them malformed and some of 2 MB.
fn write_hostile_log(path: &Path, megabytes: usize) {
    let mut random = StdRng::seed_from_u64(5);
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut written = 0;
    while written < megabytes * 1_000_000 {
        let mut word = |length: usize| -> String {
            (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
        };
        let (model, owner, message) = (word(12), word(12), word(12));
        let (year, month) = (random.random_range(0..10_000), random.random_range(1..=12));
        let figure = f64::exp(random.random_range(0.0..25.0));
        let mut line = format!(
            "[{year:04}-{month:02}-11 15:30:45] task_id=a status=error error_message=\"{message:.<200}\" queue_wait={figure:.2}s processing_time={figure:.2}s total_time={figure:.2}s tokens_per_sec={figure:.2} model={model:.<300} owner={owner}\n",
        );
        match random.random_range(0..10_000) {
            0 => line = "x".repeat(2_000_000) + "\n",
            1..1_000 => line.insert(0, '?'),
            _ => {}
        }
        out.write_all(line.as_bytes()).unwrap();
        written += line.len();
    }
    out.flush().unwrap();
}

/// Returns the greatest amount of memory that the process has had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn memory_is_bounded_for_a_hostile_log_and_does_not_grow_with_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let mut peaks = Vec::new();
    for megabytes in [15, 60] {
        let path = folder.path().join("x.log");
        write_hostile_log(&path, megabytes);
        let options = Options { filter: Filter::default(), top: 1_000, threads: 2 };
        let report = Report::read(&Input::find(&[path]).unwrap(), &options, &|_| {});
        assert!(report.lines > 8_000 && report.malformed > 500);
        let rows = [report.periods.len(), report.models.len(), report.owners.len()];
        assert!(rows.iter().all(|rows| (50..=400).contains(rows)), "{rows:?}");
        assert_eq!(report.models.last().unwrap().name, "(others)");
        let page = report.render(Format::Html).unwrap();
        assert!(page.len() < 2_000_000, "{}", page.len());
        peaks.push(peak());
    }
    assert!(peaks[1] < 96 << 20, "{peaks:?}");
    assert!(peaks[1] < peaks[0] + (24 << 20), "{peaks:?}");
}
