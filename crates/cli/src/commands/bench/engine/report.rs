//! The figures, as a table and as JSON.

use std::fmt::Write;

use engine::{MemoryPlan, ModelInfo, bench};
use serde::Serialize;

use super::super::mixed::Figures;
use super::super::spread::Spread;
use crate::table::{Align, table};

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `general.name` of the model, or its architecture.
    model: String,
    /// Its commonest weight format.
    quantization: String,
    /// How many weights.
    parameters: u64,
    /// Where it computed.
    device: String,
    /// Threads that computed.
    threads: usize,
    /// How often each load was measured; figures are medians.
    rounds: usize,
    /// One for each chunk size.
    pub(super) setups: Vec<Setup>,
}

/// One engine's figures.
#[derive(Debug, Serialize)]
pub(super) struct Setup {
    /// Tokens computed in one step at most.
    pub(super) step_tokens: usize,
    /// From nothing to ready.
    pub(super) load_seconds: f64,
    /// What it said at start that it would take.
    pub(super) plan: MemoryPlan,
    /// The most memory that the process held, loading included, where the system tells.
    pub(super) peak_memory_bytes: Option<usize>,
    /// How often an answer had to wait again for memory.
    pub(super) preemptions: u64,
    /// Reading one prompt, by its tokens.
    pub(super) prompts: Vec<Rate>,
    /// Writing answers, by how many at once; the sum of all.
    pub(super) streams: Vec<Rate>,
    /// The mixed load, by its clients.
    pub(super) clients: Vec<Figures>,
}

/// How fast something went.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// Tokens of the prompt, or answers at once.
    pub(super) of: usize,
    /// The median of the rounds.
    pub(super) tokens_per_second: f64,
    /// Each round, the slowest first.
    rounds: Vec<f64>,
}

impl Rate {
    /// The median of `rounds`, of which there is one at least.
    pub(super) fn of(of: usize, mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let tokens_per_second = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
        Self { of, tokens_per_second, rounds }
    }
}

impl Report {
    /// Without figures.
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

    /// Notes which model it is.
    pub(super) fn describe(&mut self, info: &ModelInfo) {
        self.model = info.name.clone().unwrap_or_else(|| info.architecture.clone());
        self.quantization.clone_from(&info.quantization);
        self.parameters = info.parameters;
        self.device.clone_from(&info.device);
    }

    /// The model, and how it was measured.
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

    /// All of it, for people.
    pub(super) fn table(&self) -> String {
        let mut text = self.title() + "\n";
        for setup in &self.setups {
            let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all");
            line(format!(
                "\n{} tokens a step; loaded in {:.1} s",
                setup.step_tokens, setup.load_seconds
            ));
            line(format!("memory planned: {}", setup.plan));
            if let Some(peak) = setup.peak_memory_bytes {
                let mib = peak.div_ceil(1 << 20);
                let share = 100.0 * peak as f64 / setup.plan.total as f64;
                line(format!("memory held at most: {mib} MiB, {share:.0} % of the plan"));
            }
            if setup.preemptions > 0 {
                let times = setup.preemptions;
                line(format!("{times} times an answer had to wait again for memory"));
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
        let rates: Vec<_> = prompts.chain(streams).collect();
        let mixed: Vec<_> = self.clients.iter().map(mixed_row).collect();
        let mut text = String::new();
        if !rates.is_empty() {
            text += "\n";
            text += &table(&[("load", Left), ("tokens/s", Right)], &rates);
        }
        if !mixed.is_empty() {
            text += "\n";
            text += &table(&MIXED_COLUMNS, &mixed);
        }
        text
    }
}

/// What is told of a mixed load; times are p50 / p99.
pub(in super::super) const MIXED_COLUMNS: [(&str, Align); 6] = [
    ("mixed load", Align::Left),
    ("written/s", Align::Right),
    ("read + written/s", Align::Right),
    ("first text ms", Align::Right),
    ("between texts ms", Align::Right),
    ("answer ms", Align::Right),
];

/// The same of one load.
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
