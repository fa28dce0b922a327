//! The requests that the commands send, and what they print, against a socket.

use clap::Parser;

use super::*;
use crate::client::fake::{Request, plain, server};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    tasks: TasksArgs,
}

/// Runs a command against a gateway with these answers. Returns its result, standard output, standard error and the
/// requests.
fn run(line: &[&str], answers: &[Value]) -> (Result<()>, String, String, Vec<Request>) {
    let answers = answers.iter().map(|answer| plain("200 OK", &answer.to_string())).collect();
    let (url, asked) = server(answers);
    let line = [&["tasks"], line, &["--url", &url, "--admin-key", "operator"]].concat();
    let mut output = Output::kept();
    let result = super::run(&Line::try_parse_from(line).unwrap().tasks, &mut output);
    let (text, notes) = output.into_texts();
    (result, text, notes, asked.join().unwrap())
}

fn task(number: u32, status: &str) -> Value {
    json!({
        "task_id": format!("0192f0c1-2345-7abc-8def-{number:012}"), "status": status, "model": "demo\u{1b}",
        "lane": "normal", "tenant": "acme", "user_id": null, "submitted_at": 1_763_739_000_000_u64,
        "started_at": null, "ended_at": null, "attempt": 0, "news": "of a later version",
    })
}

fn path(request: &Request) -> &str {
    request.head.lines().next().unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn tasks_are_listed_page_by_page_up_to_the_limit() {
    let mut failed = task(2, "failed");
    failed["attempt"] = json!(3);
    failed["error_type"] = json!("worker_lost");
    failed["queue_wait_time"] = json!(2.3);
    failed["processing_time"] = json!(65.0);
    let pages = [
        json!({"tasks": [task(3, "delayed")], "next_cursor": "c1"}),
        json!({"tasks": [], "next_cursor": "c2"}),
        json!({"tasks": [failed], "next_cursor": "c3"}),
    ];
    let line = [
        "--state",
        "delayed,failed",
        "--model",
        "a b",
        "--lane",
        "low",
        "--tenant",
        "acme",
        "--user-id",
        "u",
        "--metadata",
        "order=7=8",
        "--older-than",
        "15m",
        "--newer-than",
        "2d",
        "-n",
        "2",
    ];
    let (result, text, notes, asked) = run(&line, &pages);
    result.unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!(rows[0][..3], ["task", "status", "model"]);
    assert_eq!(
        rows[1][1..],
        ["delayed", "demo\\u001b", "normal", "acme", "2025-11-21 15:30:00", "-", "-", "0", "-"]
    );
    assert_eq!(rows[2][6..], ["2.30s", "1m05s", "3", "worker_lost"]);
    assert!(notes.contains("more tasks may match"), "{notes}");
    let query = "state=delayed%2cfailed&model=a%20b&lane=low&tenant=acme&user_id=u&older_than=900\
                 &newer_than=172800&metadata=order%3d7%3d8";
    let sent: Vec<_> = asked.iter().map(|request| path(request).replace('+', "%20")).collect();
    assert_eq!(sent[0], format!("get /admin/tasks?{query}&limit=2 http/1.1"));
    assert_eq!(sent[1], format!("get /admin/tasks?{query}&limit=1&cursor=c1 http/1.1"));
    assert_eq!(sent[2], format!("get /admin/tasks?{query}&limit=1&cursor=c2 http/1.1"));
}

#[test]
fn a_list_is_printed_as_json_too() {
    let answer = json!({"tasks": [task(1, "queued")], "next_cursor": null});
    let (result, text, notes, _) = run(&["--json"], std::slice::from_ref(&answer));
    result.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), answer);
    assert_eq!(notes, "");
    let (_, text, _, _) = run(&[], &[json!({"tasks": [], "next_cursor": null})]);
    assert_eq!(text, "no task matches\n");
}

fn cancelled(dry_run: bool, matched: u64, done: u64, next: Option<&str>) -> Value {
    let ids: Vec<String> = (0..matched.min(2)).map(|number| format!("task-{number}")).collect();
    json!({"dry_run": dry_run, "matched": matched, "cancelled": done, "task_ids": ids, "next_cursor": next})
}

#[test]
fn tasks_are_counted_before_they_are_cancelled() {
    let line = ["cancel", "--model", "demo", "--older-than", "1h", "--metadata", "a=b"];
    let pages = [cancelled(true, 1_000, 0, Some("c1")), cancelled(true, 5, 0, None)];
    let (result, text, _, asked) = run(&[&line[..], &["--dry-run"]].concat(), &pages);
    result.unwrap();
    assert_eq!(text, "1005 queued tasks\ntask-0\ntask-1\nand 1003 more\n");
    let filter =
        json!({"model": "demo", "older_than": 3_600, "metadata": {"a": "b"}, "dry_run": true});
    assert_eq!(body(&asked[0]), filter);
    assert_eq!(body(&asked[1])["cursor"], "c1");

    // Without a terminal there can be no confirmation, and nothing is cancelled.
    let (result, _, _, asked) = run(&line, &[cancelled(true, 5, 0, None)]);
    let refused = result.unwrap_err().to_string();
    assert!(refused.contains("Cancel 5 queued tasks?") && refused.contains("--yes"), "{refused}");
    assert_eq!(body(&asked[0])["dry_run"], true);
    let (result, text, _, _) = run(&line, &[cancelled(true, 0, 0, None)]);
    result.unwrap();
    assert_eq!(text, "0 queued tasks\n");
}

#[test]
fn confirmed_tasks_are_cancelled_until_none_is_left() {
    let pages = [cancelled(false, 1_000, 999, Some("c1")), cancelled(false, 1, 1, None)];
    let (result, text, _, asked) = run(&["cancel", "--all", "--yes"], &pages);
    result.unwrap();
    assert_eq!(text, "1000 tasks cancelled; 1 task had started or ended meanwhile\n");
    assert!(path(&asked[0]).starts_with("post /admin/tasks/cancel "), "{}", asked[0].head);
    assert_eq!(body(&asked[0]), json!({"all": true, "dry_run": false}));
    assert_eq!(body(&asked[1]), json!({"all": true, "dry_run": false, "cursor": "c1"}));

    let line = ["cancel", "--state", "queued", "--yes", "--json"];
    let (result, text, _, _) = run(&line, &[cancelled(false, 1, 1, None)]);
    result.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), cancelled(false, 1, 1, None));
}

#[test]
fn a_forgotten_filter_cancels_nothing() {
    let (result, _, _, asked) = run(&["cancel", "--yes"], &[]);
    assert!(result.unwrap_err().to_string().contains("--all"));
    assert!(asked.is_empty());
}

#[test]
fn ages_have_units() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3_600), ("2d", 172_800)] {
        assert_eq!(age(text), Ok(seconds), "{text}");
    }
    for wrong in ["", "h", "1w", "-1h", "+1h", "1.5h", "1hh", "99999999999999999999d", "ü"] {
        assert!(age(wrong).is_err(), "{wrong}");
    }
}
