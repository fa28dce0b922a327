//! The operators' commands: queues, workers, pause, resume, drain. They print tables for people
//! and, with `--json`, JSON for programs. The module `tasks` finds and cancels tasks, `schedule` handles periodic tasks, `dead` handles dead letters,
//! `keys` managed keys, `usage` what they used.

pub(crate) mod dead;
pub(crate) mod keys;
pub(crate) mod rows;
pub(crate) mod schedule;
pub(crate) mod tasks;
pub(crate) mod usage;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::client::AdminTarget;
use crate::client::admin::{Admin, Overview, Worker, understood};
use crate::output::Output;
use crate::table::table;
use crate::text::{bytes, count, printable, printable_json};

/// The gateway, and the format of the output.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// Print the gateway's response as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: AdminTarget,
}

/// A model's queue.
#[derive(Debug, Args)]
pub(crate) struct OneModel {
    /// The model, as printed by `qwen-queue queues`.
    model: String,
    #[command(flatten)]
    shown: Shown,
}

/// A worker.
#[derive(Debug, Args)]
pub(crate) struct OneWorker {
    /// The worker's id as printed by `qwen-queue workers`, or its beginning.
    worker_id: String,
    #[command(flatten)]
    shown: Shown,
}

/// Prints the queues.
pub(crate) fn queues(args: &Shown, output: &mut Output) -> Result<()> {
    let answer = Admin::new(&args.target)?.overview()?;
    args.print(output, answer, |answer| {
        let overview: Overview = understood("/admin/overview", answer)?;
        Ok(format!("{}{}\n", queues_table(&overview), totals(&overview)))
    })
}

/// Prints the workers.
pub(crate) fn workers(args: &Shown, output: &mut Output) -> Result<()> {
    let admin = Admin::new(&args.target)?;
    if args.json {
        return print_json(output, &admin.workers()?);
    }
    // The overview contains the queue's clock, by which ages are computed.
    Ok(output.print(&workers_table(&understood("/admin/overview", admin.overview()?)?))?)
}

/// Stops or resumes the claiming of a model's tasks.
pub(crate) fn set_paused(args: &OneModel, paused: bool, output: &mut Output) -> Result<()> {
    let answer = Admin::new(&args.shown.target)?.set_paused(&args.model, paused)?;
    let model = printable(&args.model);
    let told = if paused {
        format!(
            "{model} is paused: submits are accepted, running tasks continue, no task is started\n"
        )
    } else {
        format!("{model} goes on\n")
    };
    args.shown.print(output, answer, |_| Ok(told))
}

/// Requests that a worker finish its running tasks and stop.
pub(crate) fn drain(args: &OneWorker, output: &mut Output) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    let overview: Overview = understood("/admin/overview", admin.overview()?)?;
    let worker = worker_by_id_prefix(&overview.workers, &args.worker_id)?;
    let answer = admin.drain(&worker.id)?;
    args.shown.print(output, answer, |_| {
        Ok(format!(
            "worker {} on {} is draining: it claims no more tasks, finishes its {} and stops\n",
            printable(&worker.id),
            printable(&worker.host),
            count(worker.running.into(), "task")
        ))
    })
}

/// Returns the worker whose id has this prefix.
fn worker_by_id_prefix<'a>(workers: &'a [Worker], given: &str) -> Result<&'a Worker> {
    let given = given.to_ascii_lowercase();
    let begins = |worker: &&Worker| !given.is_empty() && worker.id.starts_with(&given);
    let found: Vec<_> = workers.iter().filter(begins).collect();
    match *found {
        [worker] => Ok(worker),
        [] => bail!(
            "no worker's id begins with '{}'; `qwen-queue workers` lists all {}",
            printable(&given),
            workers.len()
        ),
        _ => bail!(
            "the ids of {} workers begin with '{}': {}; use a longer prefix",
            found.len(),
            printable(&given),
            found.iter().map(|worker| printable(&worker.id)).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Formats all queues as a table.
pub(crate) fn queues_table(overview: &Overview) -> String {
    if overview.queues.is_empty() {
        return "no queue yet: a model's first task creates its queue\n".to_owned();
    }
    let rows: Vec<_> = overview.queues.iter().map(|queue| rows::queue(queue, None)).collect();
    table(&rows::QUEUE, &rows)
}

/// Formats the batches that have not ended as a table; empty if there are none.
pub(crate) fn batches_table(overview: &Overview) -> String {
    if overview.batches.is_empty() {
        return String::new();
    }
    let row = |batch| rows::batch(batch, overview.at);
    let listed = table(&rows::BATCH, &overview.batches.iter().map(row).collect::<Vec<_>>());
    let more = overview.batches_running.saturating_sub(overview.batches.len() as u64);
    let more = if more > 0 { format!("and {more} more\n") } else { String::new() };
    format!("{listed}{more}\n")
}

/// Formats all workers as a table.
pub(crate) fn workers_table(overview: &Overview) -> String {
    if overview.workers.is_empty() {
        return "no worker: start one with `qwen-queue worker`\n".to_owned();
    }
    let row = |worker| rows::worker(worker, overview.at, rows::Id::Whole);
    table(&rows::WORKER, &overview.workers.iter().map(row).collect::<Vec<_>>())
}

/// Formats the totals of all queues on one line.
pub(crate) fn totals(overview: &Overview) -> String {
    format!(
        "{} queued in {}, {} processing, {}, {} pending",
        overview.queues.iter().map(|queue| queue.queued.total() + queue.delayed).sum::<u64>(),
        bytes(overview.queued_bytes),
        overview.queues.iter().map(|queue| queue.processing).sum::<u64>(),
        count(overview.dead_letters, "dead letter"),
        count(overview.webhooks_pending, "webhook"),
    )
}

impl Shown {
    /// Prints a response as JSON or as a table.
    fn print<O: Write, N: Write>(
        &self,
        output: &mut Output<O, N>,
        answer: Value,
        people: impl FnOnce(Value) -> Result<String>,
    ) -> Result<()> {
        if self.json { print_json(output, &answer) } else { Ok(output.print(&people(answer)?)?) }
    }
}

/// Prints indented JSON.
pub(crate) fn print_json<O: Write, N: Write>(
    output: &mut Output<O, N>,
    answer: &Value,
) -> Result<()> {
    Ok(output.print(&json_text(answer)?)?)
}

/// Formats indented JSON.
fn json_text(answer: &Value) -> Result<String> {
    Ok(printable_json(&serde_json::to_string_pretty(answer)?) + "\n")
}

/// Asks the user for confirmation.
///
/// # Errors
/// If standard input is not a terminal, or the answer is not yes.
pub(crate) fn confirm<O: Write, N: Write>(question: &str, output: &mut Output<O, N>) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!("{question} Standard input is not a terminal: confirm with --yes");
    }
    output
        .ask(&format!("{question} [y/N] "))
        .context("the question can't be printed: confirm with --yes")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("standard input can't be read")?;
    if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str) -> Worker {
        Worker { id: id.to_owned(), ..Worker::default() }
    }

    #[test]
    fn worker_is_found_by_an_id_prefix() {
        let workers = ["5b32de93-0eda", "5b32ffff-1111", "77777777-2222"].map(worker);
        assert_eq!(worker_by_id_prefix(&workers, "7").unwrap().id, "77777777-2222");
        assert_eq!(worker_by_id_prefix(&workers, "5B32D").unwrap().id, "5b32de93-0eda");
        let error = worker_by_id_prefix(&workers, "5b32").unwrap_err().to_string();
        assert!(error.contains("5b32de93-0eda, 5b32ffff-1111"), "{error}");
        for none in ["", "9"] {
            assert!(
                worker_by_id_prefix(&workers, none).unwrap_err().to_string().contains("no worker")
            );
        }
    }

    #[test]
    fn totals_sum_all_queues() {
        let mut overview = Overview { dead_letters: 1, queued_bytes: 2_500, ..Overview::default() };
        overview.queues.resize_with(2, Default::default);
        overview.queues[0].queued.low = 2;
        overview.queues[1].delayed = 3;
        overview.queues[1].processing = 4;
        let told = "5 queued in 2.5 kB, 4 processing, 1 dead letter, 0 webhooks pending";
        assert_eq!(totals(&overview), told);
    }
}
