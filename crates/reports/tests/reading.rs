//! Reads real files of all kinds, with one thread and with several, and compares the counts.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests too

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use reports::{Filter, Format, Input, Options, Report};

fn line(hour: usize, nth: usize) -> String {
    let minute = nth % 60;
    format!(
        "[2025-11-21 {hour:02}:{minute:02}:00] task_id=t{nth} status=success prompt_tokens=5 completion_tokens=7 tokens_per_sec=7.00 queue_wait=0.{:02}s processing_time=1.00s total_time=1.50s model=m{} owner=o{}",
        nth % 100,
        nth % 3,
        nth % 7
    )
}

fn lines(count: usize) -> String {
    (0..count).map(|nth| line(nth * 24 / count, nth) + "\n").collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn read(paths: &[PathBuf], threads: usize) -> Report {
    let options = Options { filter: Filter::default(), top: 20, threads };
    Report::read(&Input::find(paths).unwrap(), &options, &|_| {})
}

/// Reads with one thread and with four, which must not differ.
fn read_both(paths: &[PathBuf]) -> Report {
    let (one, four) = (read(paths, 1), read(paths, 4));
    let json = |report: &Report| report.render(Format::Json).unwrap();
    assert_eq!(json(&one), json(&four));
    one
}

#[test]
fn plain_gzip_and_zstandard_files_of_a_folder_are_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let text = lines(20_000);
    let (head, tail) = text.split_at(text.len() / 2 + 17); // inside a line
    write(folder.path(), "llm_requests.2025-11-19.log", text.as_bytes());
    // Several members and frames, as `cat a.gz b.gz` makes them, and a skippable frame.
    write(
        folder.path(),
        "llm_requests.2025-11-20.log.gz",
        &[gzip(head.as_bytes()), gzip(tail.as_bytes())].concat(),
    );
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    write(
        folder.path(),
        "llm_requests.2025-11-21.log.1.zst",
        &[&skippable, &zstd(head.as_bytes())[..], &zstd(tail.as_bytes())].concat(),
    );
    let report = read_both(&[folder.path().to_path_buf()]);
    assert_eq!((report.inputs, report.problems.len(), report.malformed), (3, 0, 0));
    assert_eq!((report.lines, report.total.tasks, report.total.success), (60_000, 60_000, 60_000));
    assert_eq!(report.total.completion_tokens, 7 * 60_000);
    assert_eq!(report.periods.len(), 24);
    assert_eq!(report.models.len(), 3);
    assert_eq!(report.owners.len(), 7);
    assert_eq!(report.owners.iter().map(|owner| owner.row.tasks).sum::<u64>(), 60_000);
    let wait = report.total.queue_wait.unwrap();
    assert_eq!((wait.p50, wait.p99, wait.max), (0.49, 0.98, 0.99));
    assert_eq!(report.total.mean_tokens_per_sec, Some(7.0));
}

#[test]
fn damaged_files_are_reported_with_what_was_read_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = lines(20_000);
    let (gz, zst) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    let mut flipped = zst.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1; // a bit of the checksum
    for (name, bytes, is_partial) in [
        ("a.gz", &gz[..gz.len() / 2], true),
        ("b.zst", &zst[..zst.len() / 2], true),
        ("c.gz", &gz[..12], true),
        ("d.zst", &flipped, false),
    ] {
        let path = write(folder.path(), name, bytes);
        let plain = write(folder.path(), "plain.log", text.as_bytes());
        let report = read_both(&[path, plain]);
        assert_eq!(report.problems.len(), 1, "{name}");
        assert!(report.problems[0].file.ends_with(name) && !report.problems[0].error.is_empty());
        assert!(report.total.tasks >= 20_000 && report.malformed == 0, "{name}");
        if is_partial {
            assert!(report.total.tasks < 40_000, "{name}");
        }
        assert!(
            report.render(Format::Terminal).unwrap().contains("could not be read to their ends")
        );
    }
}

#[test]
fn malformed_lines_are_counted_and_the_first_are_shown_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(10_000_000);
    let good = line(1, 1);
    let mut bytes = format!("{good}\r\n\n{good}\n{long}\n{good}\n").into_bytes();
    bytes.extend(b"\xff\xfe\n");
    bytes.extend(
        format!("{good} later=ü\n{}", &good[..good.find("queue_wait=").unwrap() + 13]).into_bytes(),
    );
    let path = write(folder.path(), "x.log", &bytes);
    let report = read_both(std::slice::from_ref(&path));
    assert_eq!((report.lines, report.total.tasks, report.malformed), (8, 4, 4));
    let shown: Vec<_> = report.malformed_lines.iter().map(|line| (line.line, &*line.why)).collect();
    assert_eq!(
        shown,
        [
            (2, "the line is empty"),
            (4, "it has more than 1048576 bytes"),
            (6, "it does not begin with [YYYY-MM-DD hh:mm:ss]"),
            (8, "its queue_wait is not a number in the log's format"),
        ]
    );
    assert_eq!(report.malformed_lines[1].text, "x".repeat(160) + "…");
    assert_eq!(report.malformed_lines[2].text, "\u{fffd}\u{fffd}");

    // The same numbers in a compressed file, and only the first few.
    let many: Vec<u8> = (0..30).flat_map(|_| bytes.iter().copied().chain([b'\n'])).collect();
    let report = read_both(&[write(folder.path(), "x.gz", &gzip(&many))]);
    assert_eq!((report.lines, report.malformed), (240, 120));
    let numbers: Vec<u64> = report.malformed_lines.iter().map(|line| line.line).collect();
    assert_eq!(numbers, [2, 4, 6, 8, 10]);
    assert!(!report.is_all_malformed());
}

#[test]
fn lines_in_any_order_give_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let text = lines(5_000);
    let reversed: String = text.lines().rev().flat_map(|line| [line, "\n"]).collect();
    let report = |text: &str| {
        let mut report = read_both(&[write(folder.path(), "x.log", text.as_bytes())]);
        report.malformed_lines.clear();
        report.render(Format::Json).unwrap()
    };
    assert_eq!(report(&text), report(&reversed));
}

#[test]
fn empty_files_have_no_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("a", vec![]), ("b.gz", gzip(b"")), ("c.zst", zstd(b""))];
    let paths: Vec<_> =
        files.iter().map(|(name, bytes)| write(folder.path(), name, bytes)).collect();
    let report = read_both(&paths);
    assert_eq!((report.lines, report.total.tasks, report.problems.len()), (0, 0, 0));
    assert_eq!((report.from, report.is_all_malformed()), (None, false));
}

#[test]
fn filters_select_lines_and_the_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.log", (lines(24_000) + "bad\n").as_bytes());
    let start = 1_763_683_200; // 2025-11-21 00:00
    let filter = Filter {
        since: Some(start + 3_600),
        until: Some(start + 3 * 3_600),
        model: Some("m1".into()),
        owner: None,
    };
    let options = Options { filter, top: 2, threads: 3 };
    let report = Report::read(&Input::find(&[path]).unwrap(), &options, &|_| {});
    assert_eq!((report.lines, report.malformed), (24_001, 1));
    assert_eq!(report.total.tasks + report.filtered_out, 24_000);
    assert!((660..=670).contains(&report.total.tasks), "{}", report.total.tasks);
    assert_eq!((report.periods.len(), report.models.len()), (2, 1));
    let names: Vec<_> = report.owners.iter().map(|owner| owner.name.as_str()).collect();
    assert_eq!((names.len(), names[2]), (3, "(others)"));
    assert_eq!(report.owners.iter().map(|owner| owner.row.tasks).sum::<u64>(), report.total.tasks);
}

#[test]
fn answers_from_the_result_cache_do_not_count_in_the_tokens_per_second() {
    let folder = tempfile::tempdir().unwrap();
    let cached = line(1, 0).replace("tokens_per_sec=7.00", "tokens_per_sec=7000.00");
    let text = format!("{}\n{cached} result_cache=hit\n", line(1, 0));
    let report = read_both(&[write(folder.path(), "llm_requests.log", text.as_bytes())]);
    assert_eq!(report.total.tasks, 2);
    let most = report.total.tokens_per_sec.unwrap().max;
    assert!((6.9..7.1).contains(&most), "{most}");
}
