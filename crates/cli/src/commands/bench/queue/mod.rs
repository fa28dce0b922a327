//! `bench queue`: measures how fast tasks pass through gateway, queue and worker, with an engine
//! that computes nothing.
//!
//! | file         | what it holds |
//! |--------------|---------------|
//! | `stages.rs`  | the stages that are measured |
//! | `submits.rs` | submitting at the broker, without HTTP |
//! | `noop.rs`    | workers without an engine |
//! | `rig.rs`     | a new broker, and a gateway on a socket |
//! | `bare.rs`    | Redis by itself, for comparison |
//! | `depth.rs`   | the same operations when few and when many tasks are queued |
//! | `report.rs`  | the figures, as a table and as JSON |

mod bare;
mod depth;
mod noop;
mod report;
mod rig;
mod stages;
mod submits;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::report::Figures;
use self::rig::{BrokerKind, Rig};
use self::stages::Plan;
use crate::output::{Output, note};

/// Measure the throughput of gateway, queue and worker without an engine.
#[derive(Debug, Args)]
pub(crate) struct QueueBench {
    /// The queue to measure; both if none is named.
    #[arg(long)]
    broker: Option<BrokerKind>,
    /// URL of an empty Redis to use. Without it, the bench starts a redis-server with an
    /// append-only file that is synced every second.
    #[arg(long)]
    redis_url: Option<String>,
    /// Duration of each stage in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Keep-alive connections of the load generator.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// No-op workers, with 8 slots each.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Measure operations at 1,000 and at this many queued tasks instead.
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2000..=10_000_000))]
    depth: Option<u32>,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and prints the figures.
pub(super) fn run(args: &QueueBench) -> Result<()> {
    let kinds = match args.broker {
        Some(kind) => vec![kind],
        None => vec![BrokerKind::Redis, BrokerKind::Sqlite],
    };
    let redis_url = args.redis_url.as_deref();
    if let Some(depth) = args.depth {
        let mut rows = Vec::new();
        for kind in kinds {
            note(&format!("{kind:?}"));
            let rig = Rig::start(kind, redis_url)?;
            rows.extend(depth::measure(kind, &rig, usize::try_from(depth)?)?);
        }
        super::write_json(args.json.as_deref(), &rows)?;
        return Ok(Output::standard().print(&depth::table(&rows))?);
    }
    let plan = Plan {
        span: Duration::from_secs(args.seconds.max(1)),
        connections: args.connections.max(1),
        workers: args.workers.max(1),
    };
    let plan_in_words = format!(
        "{} connections, {} no-op workers of {} slots in the bench's process, prompts of {} bytes, {} s a \
         stage; times are p50 / p99\ngateway: on Redis a process of its own, with its log lines; embedded \
         in the bench's process, without them\na Redis of the bench's own has a core of its own where there \
         are two\n",
        plan.connections,
        plan.workers,
        noop::SLOTS,
        submits::PROMPT.len(),
        args.seconds.max(1)
    );
    Output::standard().line(&plan_in_words)?;
    let mut all = Vec::new();
    for kind in kinds {
        all.push(measure(kind, redis_url, &plan)?);
    }
    super::write_json(args.json.as_deref(), &all)?;
    Ok(Output::standard().print(&report::table(&all))?)
}

/// Runs all stages on one broker, each on a new store.
fn measure(kind: BrokerKind, redis_url: Option<&str>, plan: &Plan) -> Result<Figures> {
    let stage = |what: &str| {
        note(&format!("{kind:?}: {what}"));
        Rig::start(kind, redis_url)
    };
    let (http_submit, poll_queued, drain) =
        stages::apart(&stage("submits, polls and workers, one after the other")?, plan)?;
    let (broker_submit, bytes_of_10k) =
        stages::broker_submits(&mut stage("submits at the broker")?, plan)?;
    let bare = bare::measure(&stage("bare Redis")?)?;
    let mut rig = stage("end to end")?;
    let store = match &mut rig.redis {
        Some(redis) => format!("Redis {}", redis.version()?),
        None => "SQLite (embedded)".to_owned(),
    };
    let (end_to_end, poll_ended, cpu, redis_cost) = stages::end_to_end(&mut rig, plan)?;
    drop(rig);
    let end_to_end_at_broker =
        stages::end_to_end_at_broker(&stage("end to end at the broker")?, plan)?;
    let pickup = stages::pickups(&stage("pickups")?, plan, end_to_end.per_second / 2.0)?;
    let cancel_to_free = stages::cancels(&stage("cancels")?)?;
    Ok(Figures {
        broker: kind,
        store,
        http_submit,
        broker_submit,
        bare,
        drain,
        end_to_end,
        end_to_end_at_broker,
        pickup,
        poll_queued,
        poll_ended,
        cancel_to_free,
        bytes_of_10k,
        cpu,
        redis_cost,
    })
}
