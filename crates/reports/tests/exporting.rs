//! Exports real files, and reads the exports back.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests too

use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use reports::{ExportError, ExportFormat, Exported, Filter, Input, export};
use serde_json::{Value, json};

const LOG: &str = "\
[2025-11-21 15:30:45] task_id=t1 status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s cached_tokens=32 model=demo owner=o1
nonsense
[2025-11-21 15:31:12] task_id=t2 status=error error_message=\"=1+1, \\\"a\\\"\\nb\" queue_wait=0.50s processing_time=3.20s total_time=3.70s
[2025-11-21 15:31:13] task_id=t3 status=cancelled total_time=0.00s
";

fn exported(folder: &Path, log: &str, format: ExportFormat) -> Exported {
    let path = folder.join("x.log");
    fs::write(&path, log).unwrap();
    let output = File::create(folder.join("out")).unwrap();
    export(&Input::find(&[path]).unwrap(), &Filter::default(), format, output, &|_| {}).unwrap()
}

#[test]
fn csv_has_all_rows_and_no_formulas() {
    let folder = tempfile::tempdir().unwrap();
    let counts = exported(folder.path(), LOG, ExportFormat::Csv);
    assert_eq!((counts.lines, counts.rows, counts.malformed), (4, 3, 1));
    assert_eq!(counts.first_malformed.as_ref().map(|first| first.1), Some(2));
    let text = fs::read_to_string(folder.path().join("out")).unwrap();
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<_> = csv.records().map(|row| row.unwrap()).collect();
    assert_eq!(
        rows[0].iter().collect::<Vec<_>>(),
        [
            "2025-11-21T15:30:45Z",
            "t1",
            "success",
            "50",
            "200",
            "32",
            "34.48",
            "2.30",
            "5.80",
            "8.10",
            "demo",
            "o1",
            "",
            ""
        ]
    );
    assert_eq!(&rows[1][13], "'=1+1, \"a\"\nb");
    assert_eq!((&rows[2][2], &rows[2][7], &rows[2][9]), ("cancelled", "", "0.00"));
}

#[test]
fn ndjson_has_the_fields_of_each_line() {
    let folder = tempfile::tempdir().unwrap();
    exported(folder.path(), LOG, ExportFormat::Ndjson);
    let text = fs::read_to_string(folder.path().join("out")).unwrap();
    let objects: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        objects,
        [
            json!({"time": "2025-11-21T15:30:45Z", "task_id": "t1", "status": "success", "prompt_tokens": 50,
                   "completion_tokens": 200, "cached_tokens": 32, "tokens_per_sec": 34.48, "queue_wait": 2.3,
                   "processing_time": 5.8, "total_time": 8.1, "model": "demo", "owner": "o1"}),
            json!({"time": "2025-11-21T15:31:12Z", "task_id": "t2", "status": "error", "queue_wait": 0.5,
                   "processing_time": 3.2, "total_time": 3.7, "error_message": "=1+1, \"a\"\nb"}),
            json!({"time": "2025-11-21T15:31:13Z", "task_id": "t3", "status": "cancelled", "total_time": 0.0}),
        ]
    );
}

#[test]
fn parquet_is_read_back_by_its_library() {
    let folder = tempfile::tempdir().unwrap();
    // More rows than a row group has.
    let log = LOG.repeat(40_000);
    let counts = exported(folder.path(), &log, ExportFormat::Parquet);
    assert_eq!((counts.rows, counts.malformed), (120_000, 40_000));
    let file = File::open(folder.path().join("out")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 2);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 120_000);
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect();
    for start in [0, 99_999, 119_997] {
        let (success, error, cancelled) = (&rows[start], &rows[start + 1], &rows[start + 2]);
        assert_eq!(success.get_timestamp_millis(0).unwrap(), 1_763_739_045_000);
        assert_eq!(success.get_string(1).unwrap(), "t1");
        assert_eq!(success.get_string(2).unwrap(), "success");
        assert_eq!(success.get_long(4).unwrap(), 200);
        assert_eq!(success.get_double(9).unwrap(), 8.1);
        assert_eq!(success.get_string(10).unwrap(), "demo");
        assert!(success.get_string(13).is_err(), "null");
        assert_eq!(error.get_string(13).unwrap(), "=1+1, \"a\"\nb");
        assert!(error.get_long(3).is_err() && error.get_string(11).is_err(), "null");
        assert_eq!(cancelled.get_double(9).unwrap(), 0.0);
    }
}

#[test]
fn empty_logs_are_empty_tables() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ExportFormat::Csv, ExportFormat::Ndjson, ExportFormat::Parquet] {
        assert_eq!(exported(folder.path(), "", format), Exported::default());
    }
    let file = File::open(folder.path().join("out")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}

#[test]
fn full_disks_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    fs::write(&path, LOG.repeat(1_000)).unwrap();
    let inputs = Input::find(&[path]).unwrap();
    for format in [ExportFormat::Csv, ExportFormat::Ndjson, ExportFormat::Parquet] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = export(&inputs, &Filter::default(), format, full, &|_| {}).unwrap_err();
        let io = ExportError::io(&error).unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(io.kind(), std::io::ErrorKind::StorageFull, "{format:?}");
    }
}
