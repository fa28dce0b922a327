//! Decode rates with speculation, beside those without.

use anyhow::Result;
use engine::{DraftTotals, Engine, EngineTotals, GenerateError};
use serde::Serialize;

use super::rate::{Rate, median};
use crate::table::{Align, table};

/// The rates of answers with and without speculation.
#[derive(Debug, Serialize)]
pub(super) struct Drafting {
    /// The rate without speculation.
    without: Rate,
    /// The rate with speculation.
    with: Rate,
    /// The median of `round_ratios`.
    ratio: f64,
    /// The rate with speculation, divided by the one without, in each round.
    round_ratios: Vec<f64>,
    /// Tokens that were drafted and computed.
    drafted: u64,
    /// Those of them that became tokens of answers.
    accepted: u64,
}

impl Drafting {
    /// Measures `rounds` rounds of `answers` answers on both engines in turn.
    pub(super) fn measure(
        [plain, drafting]: [&Engine; 2],
        answers: usize,
        rounds: usize,
        rate: impl Fn(&Engine) -> Result<f64, GenerateError>,
    ) -> Result<Self> {
        let before = drafts(&drafting.totals());
        let (mut without, mut with) = (vec![], vec![]);
        for round in 0..rounds {
            // Alternates which goes first, so that load on the machine affects both alike.
            for drafts in [round % 2 == 1, round % 2 == 0] {
                let (engine, rates) =
                    if drafts { (drafting, &mut with) } else { (plain, &mut without) };
                rates.push(rate(engine)?);
            }
        }
        let after = drafts(&drafting.totals());
        let round_ratios: Vec<f64> =
            with.iter().zip(&without).map(|(with, plain)| with / plain).collect();
        Ok(Self {
            without: Rate::of(answers, without),
            with: Rate::of(answers, with),
            ratio: median(round_ratios.clone()),
            round_ratios,
            drafted: after.drafted - before.drafted,
            accepted: after.accepted - before.accepted,
        })
    }

    /// Formats the comparisons of several numbers of answers as a table.
    pub(super) fn table(all: &[Self]) -> String {
        const COLUMNS: [(&str, Align); 5] = [
            ("speculation", Align::Left),
            ("without", Align::Right),
            ("with", Align::Right),
            ("ratio", Align::Right),
            ("accepted", Align::Right),
        ];
        let row = |one: &Self| {
            let rate = |rate: &Rate| format!("{:.1}", rate.tokens_per_second);
            let percent = 100.0 * one.accepted as f64 / one.drafted.max(1) as f64;
            [
                if one.with.of == 1 {
                    "1 answer".to_owned()
                } else {
                    format!("{} answers", one.with.of)
                },
                rate(&one.without),
                rate(&one.with),
                format!("{:.2}", one.ratio),
                format!("{percent:.0} % of {}", one.drafted),
            ]
        };
        table(&COLUMNS, &all.iter().map(row).collect::<Vec<_>>())
    }
}

/// Returns the tokens that all drafters drafted.
fn drafts(totals: &EngineTotals) -> DraftTotals {
    let (lookup, model) = (totals.lookup_drafts, totals.model_drafts);
    DraftTotals {
        drafted: lookup.drafted + model.drafted,
        accepted: lookup.accepted + model.accepted,
    }
}
