//! `qwen-queue logs`: prints the log files for people and programs.
//!
//! ## Layout
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | [`entry`]   | assembles lines into entries, for each of the formats; pure |
//! | [`request`] | parses the fields of a line of `llm_requests.log` or `audit.log`; pure |
//! | [`files`]   | reads the daily files forwards, from their end, or as they grow |
//! | [`pick`]    | filters entries by task and time |
//! | [`summary`] | computes counts and percentiles |
//! | [`analysis`]| `logs report` and `logs export`, with the crate [`reports`] |

mod analysis;
mod entry;
mod fields;
mod files;
mod pick;
mod request;
mod summary;

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use service::Settings;

use crate::output::Output;
use crate::text::{count, printable, printable_json};

use analysis::Analysis;
use entry::{Assembler, Entry, Log};
use files::{Day, Follower};
use pick::Pick;
use summary::Summary;

/// The number of entries shown by default.
const LAST: usize = 20;
/// The interval of checks of a followed file.
const POLL: Duration = Duration::from_millis(200);

/// The arguments of `logs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Logs {
    #[command(subcommand)]
    analysis: Option<Analysis>,
    /// Read errors.log: each failed task with its error chain.
    #[arg(long, conflicts_with = "app")]
    errors: bool,
    /// Read app.log: everything else that gateways and workers log.
    #[arg(long, conflicts_with = "audit")]
    app: bool,
    /// Read audit.log: operators' acts, and calls that were refused for their credentials.
    #[arg(long, conflicts_with = "errors")]
    audit: bool,
    /// Print the last N entries [default: 20; with --since or --task all that match].
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<usize>,
    /// Continue to print new entries, across midnight too.
    #[arg(short, long)]
    follow: bool,
    /// Only entries of this task; the beginning of its id is enough.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only entries since then: 90s, 15m, 1h, 2d ago, or a time in UTC such as "2025-11-21 15:30".
    #[arg(long, value_name = "TIME", value_parser = pick::since)]
    since: Option<time::PrimitiveDateTime>,
    /// Print each entry as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Print counts and percentiles of llm_requests.log: of all entries, or of those selected by --since, --task and -n.
    #[arg(long, conflicts_with_all = ["errors", "app", "audit", "follow"])]
    summary: bool,
    /// The folder with the logs [default: LOG_DIR, found as the services find it].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Logs, config: Option<&Path>, output: &mut Output) -> Result<()> {
    if let Some(analysis) = &args.analysis {
        return analysis::run(analysis, config, output);
    }
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => Settings::load(config)?.log_dir,
    };
    let log = match args {
        Logs { errors: true, .. } => Log::Errors,
        Logs { app: true, .. } => Log::App,
        Logs { audit: true, .. } => Log::Audit,
        _ => Log::Requests,
    };
    let pick = Pick { task: args.task.clone(), since: args.since };
    let days = files::days(&dir, log).with_context(|| cannot(&dir, "be read"))?;
    if days.is_empty() && !args.follow {
        bail!(
            "there is no {}.log in {}: set the folder with --dir or LOG_DIR",
            log.name(),
            dir.display()
        );
    }
    if args.summary {
        return summarize(args, &days, &pick, output);
    }
    let mut printer = Printer { json: args.json, unread: 0, output };
    let limit = args.lines.or(pick.is_unfiltered().then_some(LAST));
    let end = shown(&days, log, &pick, limit, |entry| printer.print(entry))?;
    printer.report_unread_lines();
    if args.follow { follow(Follower::new(dir, log, end), &pick, printer) } else { Ok(()) }
}

/// Passes the filtered entries of all days, or the last `limit` of them, to `show`. Returns the end
/// of the last day's file.
fn shown(
    days: &[Day],
    log: Log,
    pick: &Pick,
    limit: Option<usize>,
    mut show: impl FnMut(&Entry) -> Result<()>,
) -> Result<Option<(Day, u64)>> {
    let mut end = None;
    let Some(limit) = limit else {
        for day in days.iter().filter(|day| pick.may_hold(day)) {
            let mut take = |entry: Entry| if pick.takes(&entry) { show(&entry) } else { Ok(()) };
            let read_to = files::read(day, log, 0, &mut take)?;
            end = Some((day.clone(), read_to));
        }
        return Ok(end.or_else(|| Some((days.last()?.clone(), 0))));
    };
    let mut last: VecDeque<Entry> = VecDeque::new();
    for (nth, day) in days.iter().rev().enumerate() {
        // The latest day is always read, because following continues at its end.
        if nth > 0 && (last.len() >= limit || !pick.may_hold(day)) {
            break;
        }
        let wanted = limit - last.len();
        let (entries, read_to) = files::read_last(day, log, wanted, |entry| pick.takes(entry))?;
        end.get_or_insert_with(|| (day.clone(), read_to));
        entries.into_iter().rev().for_each(|entry| last.push_front(entry));
    }
    last.iter().try_for_each(show)?;
    Ok(end)
}

fn summarize(args: &Logs, days: &[Day], pick: &Pick, output: &mut Output) -> Result<()> {
    let mut summary = Summary::default();
    shown(days, Log::Requests, pick, args.lines, |entry| {
        summary.take(entry);
        Ok(())
    })?;
    let text = if args.json {
        printable_json(&serde_json::to_string_pretty(&summary.json())?) + "\n"
    } else {
        summary.text()
    };
    Ok(output.print(&text)?)
}

/// Prints new entries until the process is stopped.
fn follow(
    mut follower: Follower,
    pick: &Pick,
    mut printer: Printer<'_, impl Write, impl Write>,
) -> Result<()> {
    let mut assembler = Assembler::new(follower.log());
    if follower.waits() {
        let expected = printable(&follower.expected().display().to_string());
        printer.output.note(&format!("qwen-queue: waiting for {expected}"));
    }
    loop {
        for line in follower.poll().with_context(|| cannot(follower.dir(), "be followed"))? {
            if let Some(entry) = assembler.push(line).filter(|entry| pick.takes(entry)) {
                printer.print(&entry)?;
            }
        }
        printer.report_unread_lines();
        std::thread::sleep(POLL);
    }
}

fn cannot(dir: &Path, what: &str) -> String {
    format!("the logs in {} can't {what}", dir.display())
}

/// Prints entries for people or programs.
struct Printer<'a, O: Write, N: Write> {
    json: bool,
    /// The number of entries that cannot be printed as JSON.
    unread: u64,
    output: &'a mut Output<O, N>,
}

impl<O: Write, N: Write> Printer<'_, O, N> {
    fn print(&mut self, entry: &Entry) -> Result<()> {
        if !self.json {
            for line in entry.text.lines() {
                self.output.line(&printable(line))?;
            }
            return Ok(());
        }
        match &entry.fields {
            Some(fields) => self.output.line(&printable_json(&serde_json::to_string(fields)?))?,
            None => self.unread += 1,
        }
        Ok(())
    }

    fn report_unread_lines(&mut self) {
        if self.unread > 0 {
            let lines = count(self.unread, "line");
            self.output.note(&format!("qwen-queue: left out {lines} that could not be parsed"));
            self.unread = 0;
        }
    }
}

#[cfg(test)]
mod tests;
