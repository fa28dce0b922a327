//! `qwen-queue top`: shows queues, batches and workers, updated once a second.
//!
//! ## Layout
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`state`]    | the latest overview and the selection; pure |
//! | [`rates`]    | computes throughput and history from counters; pure |
//! | [`keys`]     | handles keys; pure |
//! | [`view`]     | draws a state; pure |
//! | [`feed`]     | a thread that polls the gateway and executes orders |
//! | [`terminal`] | sets the terminal up and restores it |
//!
//! ## Data flow
//!
//! ```text
//! gateway ─▶ feed ─Report─▶ state ─▶ view ─▶ terminal
//!              ▲──Order──── keys ◀──────────── key
//! ```

mod feed;
mod keys;
mod rates;
mod state;
mod terminal;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::client::AdminTarget;
use crate::client::admin::{Admin, Overview, understood};
use crate::commands::operate::{batches_table, print_json, queues_table, totals, workers_table};
use crate::output::Output;
use crate::text::{instant, printable};

use feed::Feed;
use state::State;
use terminal::Screen;

/// Maximum wait for a key before signals are checked and the view is redrawn.
const TICK: Duration = Duration::from_millis(100);

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Seconds between updates, 0.1 to 3600.
    #[arg(long, default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print a snapshot as text and exit. The default if input or output is not a terminal.
    #[arg(long)]
    once: bool,
    /// Print a snapshot as JSON, as the gateway returned it, and exit.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: AdminTarget,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0.1 to 3600".to_owned()),
    }
}

/// Shows the overview until the operator quits.
pub(crate) fn run(args: &Top, output: &mut Output) -> Result<()> {
    let admin = Admin::new(&args.target)?;
    if args.json {
        return print_json(output, &admin.overview()?);
    }
    if args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let overview = understood("/admin/overview", admin.overview()?)?;
        return Ok(output.print(&snapshot(admin.url(), &overview))?);
    }
    // Permanent errors end the command; a gateway that is unavailable may recover.
    match admin.overview() {
        Err(error) if !error.may_succeed_later() => Err(error.into()),
        _ => live(admin, args.interval),
    }
}

fn live(admin: Admin, interval: Duration) -> Result<()> {
    let theme = view::Theme::from_env();
    let mut state = State::new(admin.url().to_owned());
    let feed = Feed::start(admin, interval);
    let mut screen = Screen::open()?;
    let watched = watch(&mut screen, &mut state, &feed, theme);
    screen.close(watched)
}

/// Redraws the view and handles keys until the operator quits, a signal arrives or the terminal
/// fails.
fn watch(screen: &mut Screen, state: &mut State, feed: &Feed, theme: view::Theme) -> Result<()> {
    while !screen.signalled() {
        while let Some(report) = feed.report() {
            state.take(report, Instant::now());
        }
        state.clear_old_notice(Instant::now());
        screen.draw(|frame| view::draw(frame, state, theme, Instant::now()))?;
        let Some(key) = screen.key(TICK)? else { continue };
        match keys::press(state, key) {
            keys::Action::Continue => {}
            keys::Action::Order(order) => feed.order(order),
            keys::Action::Quit => break,
        }
    }
    Ok(())
}

/// Formats the overview as plain text.
fn snapshot(url: &str, overview: &Overview) -> String {
    format!(
        "qwen-queue {} at {}, {} UTC\n{}\n\n{}\n{}{}",
        printable(&overview.version),
        printable(url),
        instant(overview.at),
        totals(overview),
        queues_table(overview),
        batches_table(overview),
        workers_table(overview)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::{Batch, Queue, Worker};

    #[test]
    fn a_snapshot_is_plain_text() {
        let queue = Queue { model: "demo\u{1b}[2J".into(), capacity: 4, ..Queue::default() };
        let worker = Worker {
            id: "5b32de93-0eda".into(),
            host: "gpu-1".into(),
            pid: 7,
            ..Worker::default()
        };
        let overview = Overview {
            at: 1_763_739_045_000,
            version: "0.1.0".into(),
            queues: vec![queue],
            workers: vec![worker],
            batches: vec![Batch {
                batch_id: "batch_0192".into(),
                status: "in_progress".into(),
                total: 10_000,
                completed: 2_500,
                failed: 60,
                created_at: 1_763_739_045_000 - 65_000,
                expires_at: 1_763_739_045_000 + 5_000,
                ..Batch::default()
            }],
            batches_running: 3,
            ..Overview::default()
        };
        let text = snapshot("http://here:8000", &overview);
        let first =
            "qwen-queue 0.1.0 at http://here:8000, 2025-11-21 15:30:45 UTC\n0 queued in 0 B";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("\ndemo\\u001b[2J  idle "), "{text}");
        assert!(text.contains("\n5b32de93-0eda ") && text.contains("gpu-1:7"), "{text}");
        assert!(
            text.contains("\nbatch_0192  in_progress  2560/10000      60  1m05s  5.00s"),
            "{text}"
        );
        assert!(text.contains("\nand 2 more\n\nworker "), "{text}");
        assert!(!text.contains('\u{1b}'));
        let empty = snapshot("http://here:8000", &Overview::default());
        assert!(
            empty.contains("no queue yet") && empty.contains("no worker: start one"),
            "{empty}"
        );
    }

    #[test]
    fn an_interval_is_a_number_of_seconds_within_bounds() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "1e9", "nan", "soon"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
