//! Compares the cost of operations, one at a time, when few and when many tasks are queued. One
//! tenant has all tasks, so nearly all are in one backlog.

use std::time::Instant;

use anyhow::{Context, Result};
use queue::SubmitOptions;
use serde::Serialize;

use super::super::spread::Spread;
use super::noop;
use super::report::spread;
use super::rig::{BrokerKind, Rig};
use super::submits::{self, Until};
use crate::output::note;

/// The smaller depth, to which the other is compared.
const SHALLOW_DEPTH: usize = 1_000;
/// Operations of each kind measured per depth.
const ROUNDS: usize = 1_000;

/// The cost of operations at one depth.
#[derive(Debug, Serialize)]
pub(super) struct AtDepth {
    pub(super) broker: BrokerKind,
    pub(super) depth: usize,
    pub(super) submit: Option<Spread>,
    pub(super) status: Option<Spread>,
    pub(super) claim: Option<Spread>,
    pub(super) finish: Option<Spread>,
}

/// Measures at [`SHALLOW_DEPTH`] and at `depth` queued tasks.
pub(super) fn measure(kind: BrokerKind, rig: &Rig, depth: usize) -> Result<Vec<AtDepth>> {
    let mut queued = 0;
    let mut rows = Vec::new();
    for depth in [SHALLOW_DEPTH, depth] {
        let missing = depth.saturating_sub(queued);
        let began = Instant::now();
        submits::at_broker(&rig.runtime, &rig.broker, Until::Count(missing))?;
        note(&format!("  filled to {depth} in {:.1} s", began.elapsed().as_secs_f64()));
        queued = depth;
        rows.push(rig.runtime.block_on(at_depth(kind, rig, depth))?);
    }
    Ok(rows)
}

/// Measures operations. Each round submits one task and finishes one, so the depth stays.
async fn at_depth(kind: BrokerKind, rig: &Rig, depth: usize) -> Result<AtDepth> {
    let (broker, claimant) = (&rig.broker, noop::claimant());
    let (mut submit, mut status) = (Vec::new(), Vec::new());
    let (mut claim, mut finish) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let task = submits::task();
        let at = Instant::now();
        broker.submit(&task, &SubmitOptions::PLAIN).await?;
        submit.push(at.elapsed());

        let at = Instant::now();
        broker.snapshot(task.id).await?.context("a queued task is missing")?;
        status.push(at.elapsed());

        let at = Instant::now();
        let claimed = broker.claim(&claimant, std::time::Duration::ZERO).await?;
        claim.push(at.elapsed());

        let claimed = claimed.context("nothing to claim in a full queue")?;
        let at = Instant::now();
        broker.finish(&claimed.lease, &noop::answer()).await?;
        finish.push(at.elapsed());
    }
    let [submit, status, claim, finish] = [submit, status, claim, finish].map(Spread::of);
    Ok(AtDepth { broker: kind, depth, submit, status, claim, finish })
}

/// Formats the figures for people.
pub(super) fn table(rows: &[AtDepth]) -> String {
    let mut text = format!(
        "{:<8}{:>10}{:>22}{:>22}{:>22}{:>22}\n",
        "", "depth", "submit", "status", "claim", "finish"
    );
    for pair in rows.chunks(2) {
        let cells = |row: &AtDepth| [row.submit, row.status, row.claim, row.finish];
        for row in pair {
            let [submit, status, claim, finish] = cells(row).map(spread);
            text.push_str(&format!(
                "{:<8}{:>10}{submit:>22}{status:>22}{claim:>22}{finish:>22}\n",
                format!("{:?}", row.broker).to_lowercase(),
                row.depth
            ));
        }
        if let [shallow, deep] = pair {
            let mut ratios = cells(deep).into_iter().zip(cells(shallow)).map(|(deep, shallow)| {
                deep.zip(shallow).map_or("-".into(), |(deep, shallow)| {
                    format!(
                        "x {:.2} / {:.2}",
                        deep.p50_ms / shallow.p50_ms,
                        deep.p99_ms / shallow.p99_ms
                    )
                })
            });
            let mut next = || ratios.next().unwrap_or_default();
            text.push_str(&format!(
                "{:<18}{:>22}{:>22}{:>22}{:>22}\n",
                "",
                next(),
                next(),
                next(),
                next()
            ));
        }
    }
    text
}
