//! The figures, as a table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use engine::{MemoryPlan, ModelInfo, bench};
use serde::Serialize;

use super::super::mixed::Figures;
use super::super::spread::Spread;
use super::beside::{self, Beside};
use super::drafting::Drafting;
use super::rate::{Rate, median};
use crate::table::{Align, table};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `general.name` of the model, or its architecture.
    model: String,
    /// Its most common weight format.
    quantization: String,
    /// The number of weights.
    parameters: u64,
    /// The device that computed.
    device: String,
    /// The number of compute threads.
    threads: usize,
    /// Rounds per load; figures are medians.
    rounds: usize,
    /// The figures for each chunk size.
    pub(super) setups: Vec<Setup>,
}

/// The figures of one engine.
#[derive(Debug, Serialize)]
pub(super) struct Setup {
    /// The most tokens computed in one step.
    pub(super) step_tokens: usize,
    /// Seconds from the start of loading until the engine is ready.
    pub(super) load_seconds: f64,
    /// The engine's memory plan.
    pub(super) plan: MemoryPlan,
    /// The process's peak memory, loading included, where the system reports it.
    pub(super) peak_memory_bytes: Option<usize>,
    /// The number of times a sequence was preempted because KV memory ran short.
    pub(super) preemptions: u64,
    /// Prefill rates of one prompt, by its length.
    pub(super) prompts: Vec<Rate>,
    /// Summed decode rates, by the number of answers.
    pub(super) streams: Vec<Rate>,
    /// The duration of submits with a constraint, if measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) submits: Option<Submits>,
    /// Summed decode rates of constrained answers, if measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) constrained: Vec<Constrained>,
    /// Decode rates with speculation, if measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) drafting: Vec<Drafting>,
    /// The mixed load, by its number of clients.
    pub(super) clients: Vec<Figures>,
    /// Short prompts beside a long one, if measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) beside: Vec<Beside>,
}

/// The duration of submits with a constraint.
#[derive(Debug, Serialize)]
pub(super) struct Submits {
    /// The first request of an engine, which indexes the vocabulary.
    first_ms: f64,
    /// The next request, which compiles only the schema.
    next_ms: f64,
}

impl Submits {
    pub(super) fn of(first: Duration, next: Duration) -> Self {
        Self { first_ms: 1e3 * first.as_secs_f64(), next_ms: 1e3 * next.as_secs_f64() }
    }
}

/// The rate of constrained answers, compared with that of unconstrained ones.
#[derive(Debug, Serialize)]
pub(super) struct Constrained {
    #[serde(flatten)]
    pub(super) rate: Rate,
    /// The median of `round_costs`.
    cost: f64,
    /// The share of the rate that each round lost, in order: 0.03 is 3 %.
    round_costs: Vec<f64>,
}

impl Constrained {
    /// Compares the rates of each round. There must be at least one.
    pub(super) fn of(of: usize, free: &[f64], bound: Vec<f64>) -> Self {
        let costs = free.iter().zip(&bound).map(|(free, bound)| 1.0 - bound / free);
        let round_costs: Vec<f64> = costs.collect();
        Self { cost: median(round_costs.clone()), rate: Rate::of(of, bound), round_costs }
    }

    /// Formats the cost as a line for people.
    fn cost(&self) -> String {
        let percent = |part: f64| format!("{:.1}", 100.0 * part);
        let rounds: Vec<String> = self.round_costs.iter().copied().map(percent).collect();
        let (cost, rounds) = (percent(self.cost), rounds.join(", "));
        format!("a schema costs {} together {cost} % (by round: {rounds})\n", self.rate.of)
    }
}

impl Report {
    /// Creates a report without figures.
    pub(super) fn new(rounds: usize) -> Self {
        Self {
            model: String::new(),
            quantization: String::new(),
            parameters: 0,
            device: String::new(),
            threads: bench::threads(),
            rounds,
            setups: Vec::new(),
        }
    }

    /// Records which model was measured.
    pub(super) fn describe(&mut self, info: &ModelInfo) {
        self.model = info.name.clone().unwrap_or_else(|| info.architecture.clone());
        self.quantization.clone_from(&info.quantization);
        self.parameters = info.parameters;
        self.device.clone_from(&info.device);
    }

    /// Returns a line with the model and how it was measured.
    pub(super) fn title(&self) -> String {
        format!(
            "{}, {}, {:.1} M parameters, {} with {} threads; median of {}",
            self.model,
            self.quantization,
            self.parameters as f64 / 1e6,
            self.device,
            self.threads,
            if self.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", self.rounds) }
        )
    }

    /// Returns all figures as text for people.
    pub(super) fn table(&self) -> String {
        let mut text = self.title() + "\n";
        for setup in &self.setups {
            let mut line =
                |line: String| writeln!(text, "{line}").expect("writing to a String cannot fail");
            line(format!(
                "\n{} tokens a step; loaded in {:.1} s",
                setup.step_tokens, setup.load_seconds
            ));
            line(format!("memory planned: {}", setup.plan));
            if let Some(peak) = setup.peak_memory_bytes {
                let mib = peak.div_ceil(1 << 20);
                let share = 100.0 * peak as f64 / setup.plan.total as f64;
                line(format!("peak memory: {mib} MiB, {share:.0} % of the plan"));
            }
            if setup.preemptions > 0 {
                let times = setup.preemptions;
                line(format!("preemptions for lack of KV memory: {times}"));
            }
            text += &setup.tables();
        }
        text
    }
}

impl Setup {
    fn tables(&self) -> String {
        use Align::{Left, Right};
        let rate = |name: String, rate: &Rate| [name, format!("{:.1}", rate.tokens_per_second)];
        let prompts = self.prompts.iter().map(|one| rate(format!("prompt of {}", one.of), one));
        let streams = self.streams.iter().map(|one| {
            let answers = if one.of == 1 { "answer" } else { "answers together" };
            rate(format!("{} {answers}", one.of), one)
        });
        let constrained = self.constrained.iter().map(|one| &one.rate);
        let constrained = constrained.map(|one| rate(format!("{} with a schema", one.of), one));
        let rates: Vec<_> = prompts.chain(streams).chain(constrained).collect();
        let mixed: Vec<_> = self.clients.iter().map(mixed_row).collect();
        let mut text = String::new();
        if !rates.is_empty() {
            text += "\n";
            text += &table(&[("load", Left), ("tokens/s", Right)], &rates);
        }
        if let Some(submits) = &self.submits {
            let (first, next) = (submits.first_ms, submits.next_ms);
            let costs: String = self.constrained.iter().map(Constrained::cost).collect();
            text += &format!(
                "\nthe first schema compiles in {first:.0} ms, the next in {next:.1} ms\n{costs}"
            );
        }
        if !self.drafting.is_empty() {
            text += "\n";
            text += &Drafting::table(&self.drafting);
        }
        if !mixed.is_empty() {
            text += "\n";
            text += &table(&MIXED_COLUMNS, &mixed);
        }
        let beside: Vec<_> = self.beside.iter().map(beside::row).collect();
        if !beside.is_empty() {
            text += "\n";
            text += &table(&beside::COLUMNS, &beside);
        }
        text
    }
}

/// The columns of the mixed load; times are p50 / p99.
pub(in super::super) const MIXED_COLUMNS: [(&str, Align); 6] = [
    ("mixed load", Align::Left),
    ("written/s", Align::Right),
    ("read + written/s", Align::Right),
    ("first text ms", Align::Right),
    ("between texts ms", Align::Right),
    ("answer ms", Align::Right),
];

/// Returns the row of one mixed load.
pub(in super::super) fn mixed_row(figures: &Figures) -> [String; 6] {
    let times = |spread: Option<Spread>| {
        spread.map_or("-".to_owned(), |s| format!("{:.0} / {:.0}", s.p50_ms, s.p99_ms))
    };
    [
        format!("{} clients, {} requests", figures.clients, figures.requests),
        format!("{:.1}", figures.output_per_second),
        format!("{:.1}", figures.total_per_second),
        times(figures.first),
        times(figures.gap),
        times(Some(figures.whole)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_the_median_loss_of_the_rounds() {
        let constrained = Constrained::of(16, &[100.0, 200.0, 50.0], vec![97.0, 180.0, 50.5]);
        assert!((constrained.cost - 0.03).abs() < 1e-9, "{constrained:?}");
        assert!((constrained.rate.tokens_per_second - 97.0).abs() < 1e-9, "{constrained:?}");
        let expected = "a schema costs 16 together 3.0 % (by round: 3.0, 10.0, -1.0)\n";
        assert_eq!(constrained.cost(), expected);
        // The median of two rounds is their mean.
        let constrained = Constrained::of(4, &[100.0, 100.0], vec![90.0, 94.0]);
        assert!((constrained.cost - 0.08).abs() < 1e-9, "{constrained:?}");
    }
}
