//! Tests the renderers with hostile text, and with logs of no or few tasks.

use std::path::Path;

use super::*;
use crate::{Filter, Input, Options};

const EVIL: &str = "<script>alert(1)</script>|`x`\u{1b}[2J[a](http://e.example)=1+1";

fn report(lines: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    std::fs::write(&path, lines).unwrap();
    let options = Options { filter: Filter::default(), top: 20, threads: 1 };
    let mut report = Report::read(&Input::find(&[path]).unwrap(), &options, &|_| {});
    for line in &mut report.malformed_lines {
        line.file = Path::new(&line.file).file_name().unwrap().to_str().unwrap().to_owned();
    }
    report
}

fn evil() -> Report {
    let quoted = serde_json::to_string(EVIL).unwrap();
    let line = |hour: u8, fields: &str| {
        format!("[2025-11-21 {hour:02}:30:45] task_id=a status=error {fields} total_time=1.00s\n")
    };
    let mut lines = line(1, &format!("model={quoted} owner={quoted} error_message={quoted}"));
    lines += &line(3, "error_message=\"=1+1\" model==2+2");
    lines += &line(4, &format!("error_type={quoted}"));
    lines += &format!("{EVIL}\n");
    report(&lines)
}

#[test]
fn html_has_no_element_and_no_script_of_untrusted_text() {
    let page = evil().render(Format::Html).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<a"), "{page}");
    assert!(!page.contains("http://e.example\"") && !page.contains("src="), "{page}");
    assert_eq!(page.matches("<svg ").count(), 4);
    assert_eq!(page.matches("</svg>").count(), 4);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
}

#[test]
fn terminal_and_json_have_no_control_characters_of_untrusted_text() {
    for format in [Format::Terminal, Format::Markdown, Format::Json] {
        let text = evil().render(format).unwrap();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("script"), "it is shown");
    }
}

#[test]
fn markdown_cells_stay_cells() {
    let text = evil().render(Format::Markdown).unwrap();
    assert!(text.contains("&lt;script&gt;alert\\(1\\)&lt;/script&gt;\\|\\`x\\`"), "{text}");
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let rows: Vec<&str> =
        text.lines().skip_while(|line| !line.starts_with("## By model")).skip(2).collect();
    let columns = bars(rows[0]);
    assert_eq!(bars(rows[2]), columns, "{text}");
}

#[test]
fn csv_has_no_formulas_and_the_same_columns_in_all_rows() {
    let text = evil().render(Format::Csv).unwrap();
    let mut csv = ::csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let columns = csv.headers().unwrap().len();
    let rows: Vec<_> = csv.records().map(|row| row.unwrap()).collect();
    assert!(rows.iter().all(|row| row.len() == columns), "{text}");
    assert!(rows.iter().all(|row| row.iter().all(|cell| !cell.starts_with('='))), "{text}");
    let by = |by: &str, name: &str| {
        rows.iter().find(|row| &row[0] == by && &row[1] == name).unwrap()[2].to_owned()
    };
    assert_eq!((by("model", EVIL), by("model", "'=2+2")), ("1".into(), "1".into()));
    assert_eq!((by("error", "'=#+#"), by("malformed", "lines")), ("1".into(), "1".into()));
    assert_eq!(by("period", "2025-11-21T03:00:00Z"), "1");
}

#[test]
fn terminal_report_has_the_figures() {
    let text = report(
        "[2025-11-21 15:30:45] task_id=a status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s cached_tokens=10 model=demo\n\
         [2025-11-21 16:30:45] task_id=b status=error error_message=\"CUDA out of memory at 7\" queue_wait=0.50s processing_time=3.20s total_time=3.70s model=demo\n\
         nonsense\n",
    )
    .render(Format::Terminal)
    .unwrap();
    assert_eq!(
        text,
        "\
2 tasks ended from 2025-11-21 15:30:45 to 2025-11-21 16:30:45 UTC
1 success (50.0 %), 1 error, 0 cancelled
50 prompt (10 cached) + 200 completion tokens
read 3 lines of 1 file; 1 malformed (33.3 %)

All tasks
              p50    p90    p95    p99    max   mean
queue wait  0.50s  2.30s  2.30s  2.30s  2.30s  1.40s
processing  3.20s  5.80s  5.80s  5.80s  5.80s  4.50s
total       3.70s  8.10s  8.10s  8.10s  8.10s  5.90s
tokens/s     34.5   34.5   34.5   34.5   34.5   34.5

By hour
UTC               tasks  error  cancelled  tokens  wait p50    p95  proc. p50    p95  total p50    p95    p99  tok/s p50
2025-11-21 15:00      1      0          0     200     2.30s  2.30s      5.80s  5.80s      8.10s  8.10s  8.10s       34.5
2025-11-21 16:00      1      1          0       0     0.50s  0.50s      3.20s  3.20s      3.70s  3.70s  3.70s          -

By model
model  tasks  error  cancelled  tokens  wait p50    p95  proc. p50    p95  total p50    p95    p99  tok/s p50
demo       2      1          0     200     0.50s  2.30s      3.21s  5.80s      3.71s  8.10s  8.10s       34.5

Errors by kind
kind                     tasks    share
CUDA out of memory at #      1  100.0 %

Malformed lines
file   line  why                                           text
x.log     3  it does not begin with [YYYY-MM-DD hh:mm:ss]  nonsense
"
    );
}

#[test]
fn empty_logs_can_be_rendered() {
    for lines in ["", "nonsense\n"] {
        let report = report(lines);
        assert_eq!(report.is_all_malformed(), !lines.is_empty());
        for format in [Format::Terminal, Format::Markdown, Format::Html, Format::Csv, Format::Json]
        {
            report.render(format).unwrap();
        }
        assert!(report.render(Format::Terminal).unwrap().starts_with("no ended task\n"));
    }
}
