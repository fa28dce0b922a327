//! Dead letters: tasks that used their attempts up and wait for an operator.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use protocol::TaskId;
use serde::Deserialize;
use serde_json::Value;

use super::{Shown, confirm, print, print_json};
use crate::client::admin::{Admin, Purge, understood};
use crate::table::{Align, Column, table};
use crate::text::{count, instant, printable};

/// Letters that are asked for at once.
const PAGE: usize = 100;
/// The columns of a list.
const COLUMNS: [Column; 6] = [
    ("task", Align::Left),
    ("died (UTC)", Align::Left),
    ("model", Align::Left),
    ("attempts", Align::Right),
    ("error", Align::Left),
    ("message", Align::Left),
];
/// Characters of a message in a list.
const MESSAGE: usize = 60;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List them, the latest first.
    List(List),
    /// Show one: what was asked, and how each attempt failed.
    Show(One),
    /// Submit one again, or all, as a new task with all its attempts; prints the new task's id.
    Replay(Replay),
    /// Delete one, or all of a model, or all. Their tasks' results stay until they expire.
    Purge(PurgeArgs),
}

/// Which to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of a model.
    #[arg(long)]
    model: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    shown: Shown,
}

/// One dead letter.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its task's id.
    task_id: TaskId,
    #[command(flatten)]
    shown: Shown,
}

/// Which to replay.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["task_id", "all"]))]
pub(crate) struct Replay {
    /// Its task's id.
    task_id: Option<TaskId>,
    /// All of them, the oldest first.
    #[arg(long)]
    all: bool,
    /// With --all: only those of a model.
    #[arg(long, requires = "all")]
    model: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Which to delete.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["task_id", "model", "all"]))]
pub(crate) struct PurgeArgs {
    /// Its task's id.
    task_id: Option<TaskId>,
    /// All of a model.
    #[arg(long)]
    model: Option<String>,
    /// All.
    #[arg(long)]
    all: bool,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Does it.
pub(crate) fn run(dead: &Dead) -> Result<()> {
    match dead {
        Dead::List(args) => list(args),
        Dead::Show(args) => {
            let path = format!("/admin/dead-letters/{}", args.task_id);
            let answer = Admin::new(&args.shown.target)?.dead_letter(&args.task_id.to_string())?;
            args.shown.print(answer, |answer| Ok(page(&understood(&path, answer)?)))
        }
        Dead::Replay(args) => replay(args),
        Dead::Purge(args) => purge(args),
    }
}

fn list(args: &List) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    let letters = letters(&admin, args.model.as_deref(), args.limit)?;
    if args.shown.json {
        return print_json(&Value::Array(letters));
    }
    let rows: Result<Vec<_>> = letters.into_iter().map(|letter| Ok(row(&read(letter)?))).collect();
    let rows = rows?;
    if rows.is_empty() {
        return print("no dead letters\n");
    }
    print(&table(&COLUMNS, &rows))
}

/// At most `limit` letters, the latest first, as many pages as that takes.
fn letters(admin: &Admin, model: Option<&str>, limit: usize) -> Result<Vec<Value>> {
    let mut letters: Vec<Value> = Vec::new();
    let mut before = None;
    while letters.len() < limit {
        let wanted = PAGE.min(limit - letters.len());
        let mut answer = admin.dead_letters(model, before, wanted)?;
        let Value::Array(page) = answer["dead_letters"].take() else {
            bail!("the gateway's answer to /admin/dead-letters has no list of them");
        };
        let count = page.len();
        letters.extend(page);
        before = letters.last().and_then(|letter| letter["died_at"].as_u64());
        if count < wanted || before.is_none() {
            break;
        }
    }
    Ok(letters)
}

fn replay(args: &Replay) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    if let Some(task_id) = args.task_id {
        let answer = admin.replay(&task_id.to_string())?;
        return args.shown.print(answer, |answer| Ok(format!("{}\n", new_id(&answer)?)));
    }
    let mut letters = letters(&admin, args.model.as_deref(), usize::MAX)?;
    letters.reverse();
    let (mut replayed, mut failed) = (0, 0);
    for letter in letters {
        let task_id = read(letter)?.task_id;
        match admin.replay(&task_id) {
            Ok(answer) if args.shown.json => {
                replayed += 1;
                print(&format!("{}\n", crate::text::printable_json(&answer.to_string())))?;
            }
            Ok(answer) => {
                replayed += 1;
                print(&format!("{} again as {}\n", printable(&task_id), new_id(&answer)?))?;
            }
            // Somebody else was faster, or it is too much at once: the others may go through.
            Err(error) => {
                failed += 1;
                eprintln!("qwen-queue: {}: {error}", printable(&task_id));
            }
        }
    }
    eprintln!("{} replayed", count(replayed, "dead letter"));
    if failed > 0 {
        bail!("{} could not be replayed", count(failed, "dead letter"));
    }
    Ok(())
}

fn new_id(answer: &Value) -> Result<String> {
    match answer["task_id"].as_str() {
        Some(id) => Ok(printable(id)),
        None => bail!("the gateway's answer has no task_id"),
    }
}

fn purge(args: &PurgeArgs) -> Result<()> {
    let (which, what) = match (&args.task_id, &args.model) {
        (Some(id), _) => (Purge::One(id.to_string()), format!("the dead letter of task {id}")),
        (None, Some(model)) => {
            (Purge::Model(model.clone()), format!("all dead letters of {}", printable(model)))
        }
        (None, None) => (Purge::All, "all dead letters".to_owned()),
    };
    let admin = Admin::new(&args.shown.target)?;
    if !args.yes {
        confirm(&format!("Delete {what} for good?"))?;
    }
    let answer = admin.purge(&which)?;
    args.shown.print(answer, |answer| {
        let deleted = answer["deleted"].as_u64();
        Ok(deleted
            .map_or("deleted\n".to_owned(), |n| format!("{} deleted\n", count(n, "dead letter"))))
    })
}

/// What people are shown of a letter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Letter {
    task_id: String,
    model: String,
    error_type: String,
    error_message: String,
    submitted_at: u64,
    died_at: u64,
    failures: Vec<Failure>,
    task: Value,
}

/// How one attempt failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    attempt: u64,
    worker: String,
    at: u64,
    error_type: String,
    error_message: String,
}

fn read(letter: Value) -> Result<Letter> {
    Ok(understood("/admin/dead-letters", letter)?)
}

fn row(letter: &Letter) -> [String; COLUMNS.len()] {
    let mut message: String = printable(&letter.error_message);
    if let Some((end, _)) = message.char_indices().nth(MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    [
        printable(&letter.task_id),
        instant(letter.died_at),
        printable(&letter.model),
        letter.failures.len().to_string(),
        printable(&letter.error_type),
        message,
    ]
}

/// One letter, on as many lines as it takes.
fn page(letter: &Letter) -> String {
    let mut page = format!(
        "task       {}\nmodel      {}\nsubmitted  {} UTC\ndied       {} UTC\nerror      {}: {}\n",
        printable(&letter.task_id),
        printable(&letter.model),
        instant(letter.submitted_at),
        instant(letter.died_at),
        printable(&letter.error_type),
        printable(&letter.error_message),
    );
    // Writing to a String can't fail.
    for failure in &letter.failures {
        let _ = writeln!(
            page,
            "\nattempt {} on worker {}, {} UTC\n  {}: {}",
            failure.attempt,
            printable(&failure.worker),
            instant(failure.at),
            printable(&failure.error_type),
            printable(&failure.error_message)
        );
    }
    if !letter.task.is_null() {
        let task = serde_json::to_string_pretty(&letter.task).unwrap_or_default();
        let _ = writeln!(page, "\n{}", crate::text::printable_json(&task));
    }
    page
}
