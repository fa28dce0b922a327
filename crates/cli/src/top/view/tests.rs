//! Compares what is drawn with the expected text, on an in-memory screen.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::*;
use crate::client::admin::{Batch, Lanes, Overview, Queue, Worker};
use crate::top::feed::{Order, Report};
use crate::top::state::Dialog;

fn overview(at: u64, completed: u64) -> Overview {
    let queue = |model: &str, paused| Queue {
        model: model.into(),
        paused,
        queued: Lanes { high: 1, normal: 20, low: 3, batch: 400 },
        processing: 2,
        capacity: 4,
        service_seconds: Some(5.8),
        completed,
        failed: 7,
        ..Queue::default()
    };
    let worker = |id: &str, status: &str| Worker {
        id: format!("{id}-0eda-4ed5-948f-619e00a7c75d"),
        host: "gpu-1\u{1b}[2J".into(),
        pid: 17,
        version: "0.1.0".into(),
        model: "demo".into(),
        quantization: "Q4_K_M".into(),
        device: "cuda:0".into(),
        status: status.into(),
        running: 2,
        capacity: 4,
        finished: 90,
        started_at: at - 65_000,
        last_seen: Some(at - 1_200),
        ..Worker::default()
    };
    Overview {
        at,
        version: "0.1.0".into(),
        queues: vec![queue("demo", false), queue("Qwen/Qwen3-4B-GGUF:Q4_K_M", true)],
        queued_bytes: 1_500,
        dead_letters: 2,
        webhooks_pending: 5,
        batches_running: 0,
        batches: Vec::new(),
        workers: vec![worker("5b32de93", "ready"), worker("77777777", "draining")],
    }
}

fn watched(now: Instant) -> State {
    let mut state = State::new("http://here:8000".into());
    for (look, completed) in [10, 20].into_iter().enumerate() {
        let at = 1_763_739_045_000 + look as u64 * 2_000;
        state.take(Report::Overview(Ok(Box::new(overview(at, completed)))), now);
    }
    state
}

fn drawn(state: &State, width: u16, height: u16, coloured: bool, now: Instant) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, Theme::new(coloured), now)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let cells: Vec<_> = buffer.content.iter().map(|cell| cell.symbol()).collect();
    cells.chunks(width).map(|line| line.concat().replace('│', " ").trim_end().to_owned()).collect()
}

#[test]
fn wide_screen_shows_everything() {
    let now = Instant::now();
    let screen = lines(&drawn(&watched(now), 140, 24, true, now));
    let shown = screen.join("\n");
    assert!(
        screen[0].starts_with("qwen-queue 0.1.0  http://here:8000  2025-11-21 15:30:47 UTC"),
        "{shown}"
    );
    let totals =
        "848 queued in 1.5 kB, 4 processing, 2 dead letters, 5 webhooks pending, 10.00 tasks/s";
    assert_eq!(screen[1], totals, "{shown}");
    assert!(
        shown.contains("tasks/s, at most 10.00") && shown.contains("queued, at most 848"),
        "{shown}"
    );
    let queue: Vec<_> =
        screen.iter().find(|l| l.contains("demo ")).unwrap().split_whitespace().collect();
    let cells =
        ["demo", "running", "1", "20", "3", "400", "0", "2/4", "5.00", "5.80s", "7", "20", "0"];
    assert_eq!(queue, cells, "{shown}");
    assert!(shown.contains("Qwen/Qwen3-4B-GGUF:Q4_K_M  paused"), "{shown}");
    let worker: Vec<_> =
        screen.iter().find(|l| l.contains("5b32de93")).unwrap().split_whitespace().collect();
    let cells = [
        "5b32de93",
        "ready",
        "2/4",
        "gpu-1\\u001b[2J:17",
        "cuda:0",
        "demo",
        "Q4_K_M",
        "90",
        "1.20s",
        "1m05s",
        "0.1.0",
    ];
    assert_eq!(worker, cells, "{shown}");
    assert!(!shown.contains('\u{1b}'));
    assert!(screen[23].starts_with("q quit"), "{shown}");
}

#[test]
fn running_batches_have_a_line_each() {
    let now = Instant::now();
    let mut state = watched(now);
    let batch = Batch {
        batch_id: "batch_0192".into(),
        status: "in_progress".into(),
        total: 10_000,
        completed: 2_560,
        ..Batch::default()
    };
    let with_batches = Overview {
        batches: vec![batch.clone(), Batch { status: "validating".into(), total: 0, ..batch }],
        batches_running: 2,
        ..overview(1_763_739_049_000, 30)
    };
    state.take(Report::Overview(Ok(Box::new(with_batches))), now);
    let shown = lines(&drawn(&state, 140, 30, true, now)).join("\n");
    assert!(shown.contains(" 2 batches "), "{shown}");
    assert!(shown.contains("in_progress  2560/10000") && shown.contains("validating"), "{shown}");
    assert!(shown.contains("5b32de93"), "{shown}");
}

#[test]
fn a_small_screen_shows_the_most_important_parts() {
    let now = Instant::now();
    let shown = lines(&drawn(&watched(now), 60, 14, true, now)).join("\n");
    assert!(shown.contains("paused") && shown.contains("draining"), "{shown}");
    assert!(!shown.contains("cancelled") && !shown.contains("at most"), "{shown}");
    for (width, height) in [(1, 1), (10, 3), (200, 2), (3, 60)] {
        drawn(&watched(now), width, height, true, now); // draws what it can
    }
}

#[test]
fn an_unreachable_gateway_is_shown_and_the_last_overview_stays() {
    let now = Instant::now();
    let mut state = watched(now);
    state.take(Report::Overview(Err("refused\u{1b}".into())), now + Duration::from_secs(2));
    state.take(Report::Overview(Err("refused\u{1b}".into())), now + Duration::from_secs(5));
    let later = now + Duration::from_secs(14);
    let shown = lines(&drawn(&state, 140, 24, true, later)).join("\n");
    let expected = "AWAY for 12.0s, what you see is 14.0s old, trying again: refused\\u001b";
    assert!(shown.contains(expected) && shown.contains("5b32de93"), "{shown}");
    state.take(Report::Overview(Ok(Box::new(overview(1_763_739_060_000, 20)))), later);
    assert!(!lines(&drawn(&state, 140, 24, true, later)).join("\n").contains("AWAY"));

    let mut never = State::new("http://here:8000".into());
    assert!(lines(&drawn(&never, 80, 24, true, now)).join("\n").contains("asking"));
    never.take(Report::Overview(Err("refused".into())), now);
    assert!(lines(&drawn(&never, 80, 24, true, now)).join("\n").contains("AWAY"));
}

#[test]
fn dialogs_and_notices_are_shown() {
    let now = Instant::now();
    let mut state = watched(now);
    state.dialog = Dialog::Confirm(Order::Pause { model: "demo".into() });
    let shown = lines(&drawn(&state, 100, 24, true, now)).join("\n");
    assert!(shown.contains("Pause demo?") && shown.contains("y yes   n no"), "{shown}");
    state.dialog = Dialog::Help;
    assert!(
        lines(&drawn(&state, 100, 24, true, now)).join("\n").contains("drain the selected worker")
    );
    state.take(Report::Failed("404 no such worker".into()), now);
    assert_eq!(lines(&drawn(&state, 100, 24, true, now))[23], "404 no such worker");
    state.clear_old_notice(now + Duration::from_secs(60));
    assert!(lines(&drawn(&state, 100, 24, true, now))[23].starts_with("q quit"));
}

#[test]
fn no_color_disables_colours() {
    let now = Instant::now();
    let coloured = |buffer: Buffer| {
        buffer.content.iter().any(|c| c.fg != Color::Reset || c.bg != Color::Reset)
    };
    assert!(coloured(drawn(&watched(now), 140, 24, true, now)));
    assert!(!coloured(drawn(&watched(now), 140, 24, false, now)));
}
