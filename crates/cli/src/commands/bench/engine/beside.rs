//! Measures how a long prompt and concurrent short ones slow each other down.

use engine::bench::{self, SHORT};
use engine::{Engine, GenerateError};
use serde::Serialize;

use super::super::spread::Spread;
use crate::table::Align;

/// The figures of one long prompt with concurrent short ones.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    /// Tokens of the long prompt.
    long: usize,
    /// The number of clients that send short prompts.
    clients: usize,
    /// Time to the long prompt's first token without other requests.
    alone_seconds: f64,
    /// The number of steps in that time.
    alone_steps: u64,
    /// Time to the long prompt's first token with concurrent short prompts.
    beside_seconds: f64,
    /// The number of steps in that time.
    beside_steps: u64,
    /// The number of short prompts.
    short_prompts: usize,
    /// Times to their first tokens.
    first: Option<Spread>,
    /// The longest of these times, divided by the mean step of the long prompt alone.
    most_mean_steps: f64,
    /// The most steps that ended while a short prompt waited for its first token.
    most_steps: u64,
}

impl Beside {
    /// Runs the measurement.
    pub(super) fn measure(
        engine: &Engine,
        long: usize,
        clients: usize,
    ) -> Result<Self, GenerateError> {
        let figures = bench::beside(engine, long, clients)?;
        let step = figures.alone.as_secs_f64() / figures.alone_steps.max(1) as f64;
        let most = figures.first_tokens.iter().max().map_or(0.0, |time| time.as_secs_f64());
        Ok(Self {
            long,
            clients,
            alone_seconds: figures.alone.as_secs_f64(),
            alone_steps: figures.alone_steps,
            beside_seconds: figures.beside.as_secs_f64(),
            beside_steps: figures.beside_steps,
            short_prompts: figures.first_tokens.len(),
            first: Spread::of(figures.first_tokens),
            most_mean_steps: most / step.max(1e-9),
            most_steps: figures.first_steps.iter().copied().max().unwrap_or(0),
        })
    }

    /// Returns the tokens that the load holds at once, in whole pages per sequence.
    pub(super) fn tokens_at_once(long: usize, clients: usize) -> usize {
        let pages = |tokens: usize| tokens.next_multiple_of(engine::kv::PAGE_TOKENS);
        pages(long + 1) + clients * pages(SHORT.0 + SHORT.1)
    }
}

/// The columns of the table.
pub(super) const COLUMNS: [(&str, Align); 6] = [
    ("beside a long prompt", Align::Left),
    ("prompts", Align::Right),
    ("first token ms", Align::Right),
    ("at most, steps", Align::Right),
    ("long alone s", Align::Right),
    ("beside s", Align::Right),
];

/// Returns the row of one measurement.
pub(super) fn row(figures: &Beside) -> [String; 6] {
    let first =
        figures.first.map_or("-".to_owned(), |s| format!("{:.0} / {:.0}", s.p50_ms, s.p99_ms));
    let seconds = |seconds: f64, steps: u64| format!("{seconds:.2} ({steps} steps)");
    [
        format!("{} clients, {} + {} tokens", figures.clients, SHORT.0, SHORT.1),
        figures.short_prompts.to_string(),
        first,
        format!("{} ({:.1} mean ones)", figures.most_steps, figures.most_mean_steps),
        seconds(figures.alone_seconds, figures.alone_steps),
        seconds(figures.beside_seconds, figures.beside_steps),
    ]
}
