//! `tasks`: lists tasks by state, model, owner or age, and cancels those that are queued.

#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{Shown, confirm, print_json};
use crate::client::admin::{Admin, Cancelled, Task, understood};
use crate::output::Output;
use crate::table::{Align, Column, table};
use crate::text::{count, dash, instant, printable, span};

/// The number of tasks per request.
const PAGE: usize = 100;

/// The columns of a list.
const COLUMNS: [Column; 10] = [
    ("task", Align::Left),
    ("status", Align::Left),
    ("model", Align::Left),
    ("lane", Align::Left),
    ("owner", Align::Left),
    ("submitted (UTC)", Align::Left),
    ("waited", Align::Right),
    ("took", Align::Right),
    ("attempt", Align::Right),
    ("error", Align::Left),
];

/// The arguments of `tasks`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TasksArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cancel the queued tasks that match. Counts them first, and asks. Running tasks go on.
    Cancel(Cancel),
}

/// The arguments of the list.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    shown: Shown,
}

/// The arguments of `tasks cancel`.
#[derive(Debug, Args)]
struct Cancel {
    #[command(flatten)]
    filter: Filter,
    /// Cancel all queued tasks.
    #[arg(long)]
    all: bool,
    /// Only count them.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Don't ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Which tasks. All options that are given must match.
#[derive(Debug, Args)]
struct Filter {
    /// Only tasks in these states: queued, delayed, processing, completed, failed, cancelled.
    #[arg(long, value_delimiter = ',', value_name = "STATE,…")]
    state: Vec<String>,
    /// Only tasks of this model.
    #[arg(long)]
    model: Option<String>,
    /// Only tasks of this lane: high, normal, low or batch.
    #[arg(long)]
    lane: Option<String>,
    /// Only tasks of this owner.
    #[arg(long, alias = "owner", value_name = "OWNER")]
    tenant: Option<String>,
    /// Only tasks with this user_id.
    #[arg(long)]
    user_id: Option<String>,
    /// Only tasks whose metadata have this entry; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = entry)]
    metadata: Vec<(String, String)>,
    /// Only tasks that were submitted at least this long ago: 90s, 15m, 1h, 2d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<u64>,
    /// Only tasks that were submitted less than this long ago.
    #[arg(long, value_name = "AGE", value_parser = age)]
    newer_than: Option<u64>,
}

/// Runs the command.
pub(crate) fn run<O: Write, N: Write>(args: &TasksArgs, output: &mut Output<O, N>) -> Result<()> {
    match &args.command {
        None => list(&args.list, output),
        Some(Command::Cancel(args)) => cancel(args, output),
    }
}

fn list<O: Write, N: Write>(args: &List, output: &mut Output<O, N>) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    let (tasks, next) = tasks(&admin, &args.filter.query(), args.limit)?;
    if args.shown.json {
        return print_json(output, &json!({ "tasks": tasks, "next_cursor": next }));
    }
    let path = "/admin/tasks";
    let rows: Result<Vec<_>> =
        tasks.into_iter().map(|task| Ok(row(&understood(path, task)?))).collect();
    let rows = rows?;
    if rows.is_empty() {
        return Ok(output.line("no task matches")?);
    }
    output.print(&table(&COLUMNS, &rows))?;
    if next.is_some() {
        output.note("more tasks may match: raise --limit, or narrow the search");
    }
    Ok(())
}

/// Fetches at most `limit` tasks, the newest first, page by page, and the cursor behind them.
fn tasks(
    admin: &Admin,
    filter: &[(&str, String)],
    limit: usize,
) -> Result<(Vec<Value>, Option<String>)> {
    let mut tasks: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    while tasks.len() < limit {
        let wanted = PAGE.min(limit - tasks.len());
        let mut answer = admin.tasks(filter, cursor.as_deref(), wanted)?;
        let Value::Array(page) = answer["tasks"].take() else {
            bail!("the gateway's response to /admin/tasks has no list of tasks");
        };
        tasks.extend(page);
        cursor = answer["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok((tasks, cursor))
}

fn cancel<O: Write, N: Write>(args: &Cancel, output: &mut Output<O, N>) -> Result<()> {
    let mut filter = args.filter.body();
    if filter.is_empty() && !args.all {
        bail!("say which tasks to cancel, such as --model demo, or pass --all (see --help)");
    }
    if args.all {
        filter.insert("all".to_owned(), json!(true));
    }
    let admin = Admin::new(&args.shown.target)?;
    if !args.yes {
        let found = repeat(&admin, &filter, true)?;
        if args.dry_run && args.shown.json {
            return print_json(output, &json!(found));
        }
        let told = count(found.matched, "queued task");
        if args.dry_run || found.matched == 0 {
            let ids: String = found.task_ids.iter().map(|id| printable(id) + "\n").collect();
            let more = found.matched.saturating_sub(found.task_ids.len() as u64);
            let more = if more > 0 { format!("and {more} more\n") } else { String::new() };
            return Ok(output.print(&format!("{told}\n{ids}{more}"))?);
        }
        confirm(&format!("Cancel {told}?"), output)?;
    }
    let done = repeat(&admin, &filter, false)?;
    if args.shown.json {
        return print_json(output, &json!(done));
    }
    let left = done.matched.saturating_sub(done.cancelled);
    let left = match left {
        0 => String::new(),
        left => format!("; {} had started or ended meanwhile", count_of(left)),
    };
    Ok(output.line(&format!("{} cancelled{left}", count_of(done.cancelled)))?)
}

/// Sends requests until all tasks were searched, and returns their sum.
fn repeat(admin: &Admin, filter: &Map<String, Value>, dry_run: bool) -> Result<Cancelled> {
    let mut sum = Cancelled { dry_run, ..Cancelled::default() };
    loop {
        let mut body = filter.clone();
        body.insert("dry_run".to_owned(), json!(dry_run));
        body.extend(sum.next_cursor.take().map(|next| ("cursor".to_owned(), json!(next))));
        let answer = admin.cancel_tasks(&Value::Object(body))?;
        let some: Cancelled = understood("/admin/tasks/cancel", answer)?;
        sum.matched += some.matched;
        sum.cancelled += some.cancelled;
        if sum.task_ids.is_empty() {
            sum.task_ids = some.task_ids;
        }
        sum.next_cursor = some.next_cursor;
        if sum.next_cursor.is_none() {
            return Ok(sum);
        }
    }
}

fn count_of(tasks: u64) -> String {
    count(tasks, "task")
}

impl Filter {
    /// Returns the filter as parameters of a query.
    fn query(&self) -> Vec<(&'static str, String)> {
        let seconds = |age: Option<u64>| age.map(|age| age.to_string());
        let fields = [
            ("state", Some(self.state.join(",")).filter(|states| !states.is_empty())),
            ("model", self.model.clone()),
            ("lane", self.lane.clone()),
            ("tenant", self.tenant.clone()),
            ("user_id", self.user_id.clone()),
            ("older_than", seconds(self.older_than)),
            ("newer_than", seconds(self.newer_than)),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let notes = self.metadata.iter();
        fields.chain(notes.map(|(name, value)| ("metadata", format!("{name}={value}")))).collect()
    }

    /// Returns the filter as fields of a body.
    fn body(&self) -> Map<String, Value> {
        let value = |(name, text): (&str, String)| match name {
            "older_than" => (name.to_owned(), json!(self.older_than)),
            "newer_than" => (name.to_owned(), json!(self.newer_than)),
            "metadata" => {
                let notes = self.metadata.iter().cloned().map(|(name, text)| (name, json!(text)));
                (name.to_owned(), Value::Object(notes.collect()))
            }
            _ => (name.to_owned(), json!(text)),
        };
        self.query().into_iter().map(value).collect()
    }
}

/// Parses an age, in seconds.
fn age(text: &str) -> Result<u64, String> {
    let wrong = || "expected an age such as 90s, 15m, 1h or 2d".to_owned();
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = digits.parse().ok().filter(|_| is_plain);
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

fn entry(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn row(task: &Task) -> [String; COLUMNS.len()] {
    let time = |seconds: Option<f64>| seconds.map_or_else(dash, span);
    // Of a task that runs, how long it waited is known before its end.
    let waited = task.queue_wait_time.or_else(|| {
        let started = task.started_at?;
        Some(started.saturating_sub(task.submitted_at) as f64 / 1_000.0)
    });
    let status = match task.cancel_requested {
        true => format!("{} (stopping)", printable(&task.status)),
        false => printable(&task.status),
    };
    [
        printable(&task.task_id),
        status,
        printable(&task.model),
        printable(&task.lane),
        printable(&task.tenant),
        instant(task.submitted_at),
        time(waited),
        time(task.processing_time),
        task.attempt.to_string(),
        task.error_type.as_deref().map_or_else(dash, printable),
    ]
}
