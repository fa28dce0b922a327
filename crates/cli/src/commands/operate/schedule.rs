//! Commands for periodic tasks: those of a gateway's schedule, and the check of a file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use service::Settings;

use super::{Shown, json_text};
use crate::client::admin::{Admin, Periodic, Schedule, understood};
use crate::output::Output;
use crate::table::{Align, Column, table};
use crate::text::{count, dash, instant, printable};

/// Operations on periodic tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List the periodic tasks of the gateway's schedule, with their next and latest runs.
    List(Shown),
    /// Check the file of a schedule against the settings of this folder; needs no gateway.
    Check(Check),
    /// Submit one now, beside its schedule; prints the task's id.
    Run(One),
}

/// The arguments of `schedule check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file.
    file: PathBuf,
}

/// One periodic task.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its name in the schedule.
    name: String,
    #[command(flatten)]
    shown: Shown,
}

/// The columns of a list.
const COLUMNS: [Column; 9] = [
    ("task", Align::Left),
    ("cron", Align::Left),
    ("time zone", Align::Left),
    ("owner", Align::Left),
    ("next (UTC)", Align::Left),
    ("last (UTC)", Align::Left),
    ("state", Align::Left),
    ("runs", Align::Right),
    ("skipped", Align::Right),
];

/// Runs the command.
pub(crate) fn run(
    command: &ScheduleCommand,
    config: Option<&Path>,
    output: &mut Output,
) -> Result<()> {
    match command {
        ScheduleCommand::List(shown) => {
            let answer = Admin::new(&shown.target)?.schedule()?;
            shown.print(output, answer, |answer| Ok(page(&understood("/admin/schedule", answer)?)))
        }
        ScheduleCommand::Check(Check { file }) => {
            let settings = Settings::load(config)?;
            let tasks = gateway::process::check_schedule(file, &settings)?;
            let tasks = count(tasks as u64, "periodic task");
            Ok(output.line(&format!("{}: {tasks}, all right", file.display()))?)
        }
        ScheduleCommand::Run(One { name, shown }) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_plain) {
                let name = printable(name);
                bail!(
                    "'{name}' is no name of a periodic task: they have letters, digits, '.', '_' and '-'"
                );
            }
            let answer = Admin::new(&shown.target)?.run_periodic(name)?;
            if shown.json {
                return Ok(output.print_or_note(&json_text(&answer)?)?);
            }
            let Some(task_id) = answer["task_id"].as_str() else {
                bail!("the gateway's response has no task_id");
            };
            Ok(output.accepted(&printable(task_id))?)
        }
    }
}

/// Formats the list, and below it what is wrong.
fn page(schedule: &Schedule) -> String {
    if !schedule.configured {
        return "the gateway has no schedule: set SCHEDULE_FILE\n".to_owned();
    }
    if schedule.tasks.is_empty() {
        return "the schedule has no task\n".to_owned();
    }
    let rows: Vec<_> = schedule.tasks.iter().map(row).collect();
    let problems = schedule.tasks.iter().filter_map(|task| {
        let problem = printable(task.problem.as_ref()?);
        Some(format!("{}: {problem}\n", printable(&task.name)))
    });
    table(&COLUMNS, &rows) + &problems.collect::<String>()
}

fn row(task: &Periodic) -> [String; COLUMNS.len()] {
    let last = task.last.as_ref();
    let next = match task.next_at {
        _ if !task.enabled => "disabled".to_owned(),
        Some(at) => instant(at),
        None => dash(),
    };
    [
        printable(&task.name),
        printable(&task.cron),
        printable(&task.timezone),
        task.owner.as_deref().map_or_else(dash, printable),
        next,
        last.map_or_else(dash, |last| instant(last.submitted_at)),
        last.and_then(|last| last.status.as_deref()).map_or_else(dash, printable),
        task.runs.to_string(),
        task.skipped.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_shows_runs_and_problems() {
        let answer = json!({
            "at": 5, "configured": true,
            "tasks": [
                {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Oslo", "owner": "acme",
                 "missed": "once", "enabled": true, "next_at": 1_763_776_800_000_u64,
                 "last": {"task_id": "0192f0c1-2345-7abc-8def-0123456789ab", "status": "completed",
                          "occurrence": 1_763_690_400_000_u64, "submitted_at": 1_763_690_400_020_u64},
                 "runs": 17, "skipped": 2},
                {"name": "off", "cron": "@daily", "timezone": "UTC", "enabled": false,
                 "problem": "The key key_1 is\u{1b} blocked"},
            ],
        });
        let text = page(&understood("/admin/schedule", answer).unwrap());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("task     cron       time zone    owner"), "{text}");
        let cells = "nightly  0 3 * * *  Europe/Oslo  acme   2025-11-22 02:00:00  2025-11-21 02:00:00  completed    17        2";
        assert_eq!(lines[1], cells);
        assert!(lines[2].contains("disabled"), "{text}");
        assert_eq!(lines[3], "off: The key key_1 is\\u001b blocked");
        assert!(page(&Schedule::default()).contains("SCHEDULE_FILE"));
    }
}
