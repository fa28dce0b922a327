//! Tests both commands on a folder of logs.

use std::fs;

use clap::Parser;

use super::*;

const LOG: &str = "\
[2025-11-21 15:30:45] task_id=t1 status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s model=demo owner=o1
[2025-11-21 16:31:12] task_id=t2 status=error error_message=\"boom\" queue_wait=0.50s processing_time=3.20s total_time=3.70s
torn
";

#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    analysis: Analysis,
}

/// Runs a command on a folder. Returns its output, its notes and its error.
fn logs(folder: &Path, args: &str) -> (String, String, Option<String>) {
    let args = args.replace("FOLDER", folder.to_str().unwrap());
    let command = Command::try_parse_from(["logs"].into_iter().chain(args.split(' '))).unwrap();
    let mut output = Output::kept();
    let result = run(&command.analysis, None, &mut output);
    let (text, notes) = output.into_texts();
    (text, notes, result.err().map(|error| format!("{error:#}")))
}

fn folder(log: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("llm_requests.2025-11-21.log"), log).unwrap();
    folder
}

#[test]
fn report_is_printed_or_written() {
    let folder = folder(LOG);
    let (text, _, error) = logs(folder.path(), "report --dir FOLDER");
    assert_eq!(error, None);
    assert!(text.starts_with("2 tasks ended from 2025-11-21 15:30:45 to "), "{text}");
    assert!(text.contains("read 3 lines of 1 file; 1 malformed (33.3 %)"), "{text}");

    let (text, _, error) = logs(
        folder.path(),
        "report FOLDER --format html -o FOLDER/r.html --since 2025-11-21T16:00:00Z --until 2025-11-22",
    );
    assert_eq!((text.as_str(), error), ("", None));
    let page = fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(page.contains("<li>1 task ended from 2025-11-21 16:31:12 to "), "{page}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn export_is_written_and_says_what_it_left_out() {
    let folder = folder(LOG);
    let (_, notes, error) =
        logs(folder.path(), "export FOLDER --key o1 --format ndjson --output FOLDER/t.ndjson");
    assert_eq!(error, None);
    assert!(notes.contains("left out 1 malformed line, first line 3 of "), "{notes}");
    let rows = fs::read_to_string(folder.path().join("t.ndjson")).unwrap();
    assert_eq!(rows.lines().count(), 1);
    assert!(rows.contains("\"task_id\":\"t1\""), "{rows}");
}

#[test]
fn other_files_damaged_files_and_inputs_as_outputs_are_errors() {
    let folder = folder("a\nb\n");
    let (text, _, error) = logs(folder.path(), "report FOLDER");
    assert!(text.contains("Malformed lines\n"), "it is shown all the same: {text}");
    assert!(error.unwrap().starts_with("none of 2 lines has the format of llm_requests.log"));

    let log = folder.path().join("llm_requests.2025-11-21.log");
    fs::write(&log, [0x1f, 0x8b, 8, 0]).unwrap();
    let (_, _, error) = logs(folder.path(), "export FOLDER --output FOLDER/t.csv");
    assert!(error.unwrap().contains("could not be read to its end: "));

    fs::write(&log, LOG).unwrap();
    let same = "report FOLDER --output FOLDER/llm_requests.2025-11-21.log";
    assert!(logs(folder.path(), same).2.unwrap().contains("is one of the files to read"));
    assert_eq!(fs::read_to_string(&log).unwrap(), LOG);
    assert!(
        logs(folder.path(), "report FOLDER/x")
            .2
            .unwrap()
            .contains("/x can't be read: No such file")
    );
    let nowhere = logs(folder.path(), "report FOLDER --output FOLDER/x/r.md").2.unwrap();
    assert!(nowhere.contains("x/r.md can't be written: "), "{nowhere}");
}
