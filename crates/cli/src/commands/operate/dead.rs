//! Commands for dead letters: tasks that used up their attempts.

mod letter;

use std::collections::HashSet;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use protocol::TaskId;
use serde_json::{Value, json};

use super::{Shown, confirm, json_text, print_json};
use crate::client::admin::{Admin, Letter, Purge, understood};
use crate::output::Output;
use crate::table::table;
use crate::text::{count, printable, printable_json};

use letter::COLUMNS;

/// The number of dead letters per request.
const PAGE: usize = 100;
/// Operations on dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List them, the latest first.
    List(List),
    /// Show one, with its request and the error of each attempt.
    Show(One),
    /// Submit one or all again, each as a new task with all its attempts; prints the new ids.
    Replay(Replay),
    /// Delete one, all of a model, or all. The results of their tasks stay until they expire.
    Purge(PurgeArgs),
}

/// The arguments of `dead list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this model.
    #[arg(long)]
    model: Option<String>,
    /// At most this many.
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

/// The arguments of `dead replay`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["task_id", "all"]))]
pub(crate) struct Replay {
    /// Its task's id.
    task_id: Option<TaskId>,
    /// Replay all of them, the oldest first.
    #[arg(long)]
    all: bool,
    /// With --all: only those of this model.
    #[arg(long, requires = "all")]
    model: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// The arguments of `dead purge`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["task_id", "model", "all"]))]
pub(crate) struct PurgeArgs {
    /// Its task's id.
    task_id: Option<TaskId>,
    /// Delete all of this model.
    #[arg(long)]
    model: Option<String>,
    /// Delete all.
    #[arg(long)]
    all: bool,
    /// Don't ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) fn run(dead: &Dead, output: &mut Output) -> Result<()> {
    match dead {
        Dead::List(args) => list(args, output),
        Dead::Show(args) => {
            let path = format!("/admin/dead-letters/{}", args.task_id);
            let answer = Admin::new(&args.shown.target)?.dead_letter(&args.task_id.to_string())?;
            let page = |answer| Ok(letter::page(&understood(&path, answer)?));
            args.shown.print(output, answer, page)
        }
        Dead::Replay(args) => replay(args, output),
        Dead::Purge(args) => purge(args, output),
    }
}

fn list(args: &List, output: &mut Output) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    let letters = letters(&admin, args.model.as_deref(), args.limit)?;
    if args.shown.json {
        return print_json(output, &json!({ "dead_letters": letters }));
    }
    let rows: Result<Vec<_>> =
        letters.into_iter().map(|found| Ok(letter::row(&letter::read(found)?))).collect();
    let rows = rows?;
    if rows.is_empty() {
        return Ok(output.line("no dead letters")?);
    }
    Ok(output.print(&table(&COLUMNS, &rows))?)
}

/// Fetches at most `limit` dead letters, the latest first, page by page.
fn letters(admin: &Admin, model: Option<&str>, limit: usize) -> Result<Vec<Value>> {
    let mut letters: Vec<Value> = Vec::new();
    let mut before = None;
    while letters.len() < limit {
        let wanted = PAGE.min(limit - letters.len());
        let mut answer = admin.dead_letters(model, before, wanted)?;
        let Value::Array(page) = answer["dead_letters"].take() else {
            bail!("the gateway's response to /admin/dead-letters has no list of dead letters");
        };
        letters.extend(page);
        before = answer["next_before"].as_u64();
        if before.is_none() {
            break;
        }
    }
    Ok(letters)
}

fn replay(args: &Replay, output: &mut Output) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    if let Some(task_id) = args.task_id {
        let answer = admin.replay(&task_id.to_string())?;
        if args.shown.json {
            return Ok(output.print_or_note(&json_text(&answer)?)?);
        }
        return Ok(output.accepted(&new_id(&answer)?)?);
    }
    let (mut tried, mut replayed) = (HashSet::new(), 0);
    loop {
        // Pages may skip letters of the same millisecond, so this repeats until there are no new
        // ones.
        let found = letters(&admin, args.model.as_deref(), usize::MAX)?;
        let found: Result<Vec<Letter>> = found.into_iter().map(letter::read).collect();
        let fresh: Vec<_> = found?.into_iter().map(|letter| letter.task_id).collect();
        let fresh: Vec<_> = fresh.into_iter().rev().filter(|id| tried.insert(id.clone())).collect();
        if fresh.is_empty() {
            break;
        }
        for task_id in fresh {
            match admin.replay(&task_id) {
                Ok(answer) => {
                    replayed += 1;
                    output.print_or_note(&told(&task_id, &answer, args.shown.json)?)?;
                }
                // The letter may have been removed by someone else, or the queue may be in trouble;
                // the others may succeed.
                Err(error) => output.note(&format!("qwen-queue: {}: {error}", printable(&task_id))),
            }
        }
    }
    let failed = tried.len() as u64 - replayed;
    output.note(&format!("{} replayed", count(replayed, "dead letter")));
    if failed > 0 {
        bail!("{} could not be replayed", count(failed, "dead letter"));
    }
    Ok(())
}

/// Formats the result of one of several replays on one line.
fn told(task_id: &str, answer: &Value, json: bool) -> Result<String> {
    Ok(if json {
        format!("{}\n", printable_json(&answer.to_string()))
    } else {
        format!("{} again as {}\n", printable(task_id), new_id(answer)?)
    })
}

fn new_id(answer: &Value) -> Result<String> {
    match answer["task_id"].as_str() {
        Some(id) => Ok(printable(id)),
        None => bail!("the gateway's response has no task_id"),
    }
}

fn purge(args: &PurgeArgs, output: &mut Output) -> Result<()> {
    let (which, what) = match (&args.task_id, &args.model) {
        (Some(id), _) => (Purge::One(id.to_string()), format!("the dead letter of task {id}")),
        (None, Some(model)) => {
            (Purge::Model(model.clone()), format!("all dead letters of {}", printable(model)))
        }
        (None, None) => (Purge::All, "all dead letters".to_owned()),
    };
    let admin = Admin::new(&args.shown.target)?;
    if !args.yes {
        confirm(&format!("Delete {what} for good?"), output)?;
    }
    let answer = admin.purge(&which)?;
    args.shown.print(output, answer, |answer| {
        let deleted = answer["deleted"].as_u64();
        Ok(deleted
            .map_or("deleted\n".to_owned(), |n| format!("{} deleted\n", count(n, "dead letter"))))
    })
}
