//! The figures, as a table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::super::load::{self, Reply};
use super::super::redis::Counts;
use super::super::spread::Spread;
use super::rig::{BrokerKind, Cpu};

/// A repeated operation.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Flow {
    /// The rate.
    pub(super) per_second: f64,
    /// The duration of the operations, if measured.
    pub(super) latency: Option<Spread>,
}

impl Flow {
    /// Computes the rate and latency of requests.
    pub(super) fn of(replies: &[Reply]) -> Self {
        let latency = Spread::of(replies.iter().map(|reply| reply.took));
        Self { per_second: load::rate(replies), latency }
    }
}

/// The wait of tasks until a free worker claims them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pickups {
    /// With one task at a time.
    pub(super) idle: Option<Spread>,
    /// At a rate of `load_per_second`.
    pub(super) loaded: Option<Spread>,
    /// The load: about half of the end-to-end rate.
    pub(super) load_per_second: f64,
}

/// The cost of one task for Redis from its submit to its outcome, without status requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct RedisCost {
    /// Commands, those inside scripts included.
    pub(super) commands: f64,
    /// Commands that came over the network.
    pub(super) round_trips: f64,
    /// Microseconds in scripts, of which Redis runs one at a time.
    pub(super) script_micros: f64,
}

impl RedisCost {
    /// Divides the counts by the number of tasks.
    pub(super) fn of(counts: &Counts, tasks: f64) -> Self {
        Self {
            commands: counts.commands() as f64 / tasks,
            round_trips: counts.round_trips() as f64 / tasks,
            script_micros: counts.script_micros() as f64 / tasks,
        }
    }
}

/// Microseconds of processor time that one task costs from its submit to its outcome, by process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct CpuCost {
    /// No-op workers and load generator; with the embedded queue, everything.
    pub(super) bench: Option<f64>,
    /// The gateway.
    pub(super) gateway: Option<f64>,
    /// The bench's own Redis.
    pub(super) redis: Option<f64>,
}

impl CpuCost {
    /// Divides the difference by the number of tasks.
    pub(super) fn of(before: &Cpu, after: &Cpu, tasks: f64) -> Self {
        let cost = |before: Option<Duration>, after: Option<Duration>| {
            Some((after? - before?).as_secs_f64() * 1e6 / tasks)
        };
        Self {
            bench: cost(before.bench, after.bench),
            gateway: cost(before.gateway, after.gateway),
            redis: cost(before.redis, after.redis),
        }
    }
}

/// Redis by itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Bare {
    /// Calls of a script with as many commands, keys and bytes as a submit's.
    pub(super) per_second: f64,
    /// Commands in the script.
    pub(super) commands: usize,
}

/// All figures of one broker.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) broker: BrokerKind,
    /// The store's name and version.
    pub(super) store: String,
    pub(super) http_submit: Flow,
    pub(super) broker_submit: Flow,
    pub(super) bare: Option<Bare>,
    pub(super) drain: Flow,
    pub(super) end_to_end: Flow,
    pub(super) end_to_end_at_broker: Flow,
    pub(super) pickup: Pickups,
    pub(super) poll_queued: Flow,
    pub(super) poll_ended: Flow,
    pub(super) cancel_to_free: Option<Spread>,
    /// Bytes of 10,000 queued tasks.
    pub(super) bytes_of_10k: u64,
    pub(super) cpu: CpuCost,
    pub(super) redis_cost: Option<RedisCost>,
}

/// Formats the figures for people.
pub(super) fn table(all: &[Figures]) -> String {
    let mut text = format!("{:<36}", "");
    for figures in all {
        write(&mut text, &format!("{:>28}", figures.store));
    }
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        write(&mut text, &format!("\n{name:<36}"));
        for figures in all {
            write(&mut text, &format!("{:>28}", cell(figures)));
        }
    };
    row("submits/s over HTTP", &|f| flow(&f.http_submit));
    row("submits/s at the broker", &|f| flow(&f.broker_submit));
    row("  same script length, bare Redis", &|f| {
        f.bare.map_or("-".into(), |bare| {
            format!(
                "{:.0} (ours {:.2})",
                bare.per_second,
                f.broker_submit.per_second / bare.per_second
            )
        })
    });
    row("end to end tasks/s over HTTP", &|f| flow(&f.end_to_end));
    row("end to end tasks/s at the broker", &|f| flow(&f.end_to_end_at_broker));
    row("workers alone tasks/s", &|f| flow(&f.drain));
    row("submit to pickup, idle", &|f| spread(f.pickup.idle));
    row("submit to pickup, half load", &|f| spread(f.pickup.loaded));
    row("  that load, tasks/s", &|f| format!("{:.0}", f.pickup.load_per_second));
    row("polls/s of queued tasks", &|f| flow(&f.poll_queued));
    row("polls/s of ended tasks", &|f| flow(&f.poll_ended));
    row("cancel to free slot", &|f| spread(f.cancel_to_free));
    row("MB of 10,000 queued tasks", &|f| format!("{:.1}", f.bytes_of_10k as f64 / 1e6));
    row("CPU µs per task: gateway", &|f| micros(f.cpu.gateway));
    row("CPU µs per task: Redis", &|f| micros(f.cpu.redis));
    row("CPU µs per task: workers and load", &|f| micros(f.cpu.bench));
    row("Redis commands per task", &|f| cost(f, |cost| cost.commands));
    row("round trips per task", &|f| cost(f, |cost| cost.round_trips));
    row("µs in scripts per task", &|f| cost(f, |cost| cost.script_micros));
    text.push('\n');
    text
}

fn flow(flow: &Flow) -> String {
    match flow.latency {
        Some(latency) => format!("{:.0} ({})", flow.per_second, spread(Some(latency))),
        None => format!("{:.0}", flow.per_second),
    }
}

/// Formats median and tail.
pub(super) fn spread(spread: Option<Spread>) -> String {
    spread.map_or("-".into(), |s| format!("{:.2} / {:.2} ms", s.p50_ms, s.p99_ms))
}

fn micros(micros: Option<f64>) -> String {
    micros.map_or("-".into(), |micros| format!("{micros:.0}"))
}

fn cost(figures: &Figures, which: impl Fn(&RedisCost) -> f64) -> String {
    figures.redis_cost.as_ref().map_or("-".into(), |cost| format!("{:.1}", which(cost)))
}

fn write(text: &mut String, more: &str) {
    // Cannot fail for a String.
    let _ = text.write_str(more);
}
