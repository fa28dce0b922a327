//! Drafts tokens for the compute thread, and learns from what becomes of them.

use std::collections::HashMap;

use super::acceptance::Acceptance;
use super::draft_model::DraftModel;
use super::lookup::{Lookup, MATCHED};
use super::pays::{MOST_ROWS, Offer, StepTimes, choose};
use super::{DraftKind, DraftTotals, Drafter, Speculation};
use crate::sched::{Scheduler, SequenceId, StepPlan};

/// The weight of the past after each compared token, of one sequence and of all.
const MEMORY: f64 = 0.95;
const LONG_MEMORY: f64 = 0.99;
/// The first guess of a token's acceptance.
const FIRST_GUESS: f64 = 0.5;
/// The number of compared tokens that the acceptance of all sequences, and the first guess before it, count for.
const GUESS_WEIGHT: f64 = 3.0;
/// The part of the time that may be spent on drafts that do not seem to pay, to notice when they do again.
const RETRY_SHARE: f64 = 0.005;

/// Drafts tokens and learns which drafts pay.
#[derive(Debug, Default)]
pub(crate) struct Speculator {
    drafters: Vec<Part>,
    sequences: HashMap<SequenceId, Speculated>,
    times: StepTimes,
    /// Drafts whether it pays or not.
    always: bool,
    /// Seconds that may be spent on retries.
    retry_seconds: f64,
    /// Kept to reuse their memory.
    offers: Vec<Offer>,
    tokens: Vec<u32>,
}

/// A drafter with what became of its drafts.
#[derive(Debug)]
struct Part {
    drafter: Box<dyn Drafter>,
    acceptance: Acceptance,
    totals: DraftTotals,
}

/// The drafts of a sequence.
#[derive(Debug, Default)]
struct Speculated {
    /// By drafter.
    acceptances: Vec<Acceptance>,
    /// The steps without a draft although one was offered.
    skipped: usize,
    /// The draft of the current step.
    current: Option<Draft>,
}

#[derive(Debug, Clone, Copy)]
struct Draft {
    drafter: usize,
    drafted: usize,
    accepted: usize,
}

impl Speculator {
    /// Creates a speculator with the drafters of `speculation`. It drafts what pays, or `always` as much as a step takes.
    pub(crate) fn new(speculation: Speculation, model: Option<DraftModel>, always: bool) -> Self {
        let mut this = Self { always, ..Self::default() };
        if speculation == Speculation::Lookup {
            for matched in MATCHED {
                this.add(Box::new(Lookup::new(matched)));
            }
            if let Some(model) = model {
                this.add(Box::new(model));
            }
        }
        this
    }

    fn add(&mut self, drafter: Box<dyn Drafter>) {
        let (acceptance, totals) = Default::default();
        self.drafters.push(Part { drafter, acceptance, totals });
    }

    /// Adds drafts to a plan. A step that computes prompts gets none: it computes for longer than it reads weights.
    pub(crate) fn draft(&mut self, plan: &mut StepPlan, scheduler: &mut Scheduler) {
        let rows = plan.chunks.len();
        if self.drafters.is_empty() || rows == 0 || rows >= MOST_ROWS || !plan.only_decodes() {
            return;
        }
        self.collect_offers(plan, scheduler);
        if self.always {
            let each = (MOST_ROWS - rows) / self.offers.len().max(1);
            self.offers.iter_mut().for_each(|offer| offer.count = offer.most.min(each));
        } else {
            choose(rows, &mut self.offers, &self.times);
            self.retry(rows, plan);
        }
        let mut offers = std::mem::take(&mut self.offers);
        for Offer { place, drafter, count, .. } in offers.drain(..) {
            let chunk = &mut plan.chunks[place];
            let speculated = self.sequences.entry(chunk.id).or_default();
            speculated.skipped += 1;
            let Some(sequence) = scheduler.sequence(chunk.id).filter(|_| count > 0) else {
                continue;
            };
            let part = &mut self.drafters[drafter];
            self.tokens.clear();
            part.drafter.draft(chunk.id, sequence.tokens(), count, &mut self.tokens);
            scheduler.add_draft(chunk, &self.tokens);
            let drafted = chunk.drafted;
            if drafted > 0 {
                part.totals.drafted += drafted as u64;
                speculated.skipped = 0;
                speculated.current = Some(Draft { drafter, drafted, accepted: 0 });
            }
        }
        self.offers = offers;
    }

    /// Asks the drafters for each sequence, and takes the offer that is likeliest to be accepted for its time.
    fn collect_offers(&mut self, plan: &StepPlan, scheduler: &Scheduler) {
        self.offers.clear();
        for (place, chunk) in plan.chunks.iter().enumerate() {
            let Some(sequence) = scheduler.sequence(chunk.id) else { continue };
            let most = sequence.most_drafted();
            if most == 0 {
                continue;
            }
            let acceptances = self.sequences.get(&chunk.id).map(|one| &one.acceptances[..]);
            let drafters = self.drafters.iter_mut().enumerate();
            let offers = drafters.filter_map(|(drafter, part)| {
                let ready = part.drafter.can_draft(chunk.id, sequence.tokens());
                let guess = part.acceptance.probability(FIRST_GUESS, GUESS_WEIGHT);
                let own = acceptances.and_then(|all| all.get(drafter)).copied().unwrap_or_default();
                let probability = own.probability(guess, GUESS_WEIGHT);
                let seconds = part.drafter.seconds_per_token();
                ready.then_some(Offer { place, drafter, most, probability, seconds, count: 0 })
            });
            let step = self.times.of(1);
            // An accepted token is worth a step of its sequence.
            let worth = |offer: &Offer| offer.probability - offer.seconds / step;
            self.offers.extend(offers.max_by(|a, b| worth(a).total_cmp(&worth(b))));
        }
    }

    /// Drafts one token for the sequence that waited longest for a draft, if there is time for it.
    fn retry(&mut self, rows: usize, plan: &StepPlan) {
        let Self { offers, sequences, times, retry_seconds, .. } = self;
        let skipped = |offer: &&mut Offer| {
            let speculated = sequences.get(&plan.chunks[offer.place].id);
            speculated.map_or(0, |speculated| speculated.skipped)
        };
        if offers.iter().any(|offer| offer.count > 0) {
            return;
        }
        if let Some(offer) = offers.iter_mut().max_by_key(skipped) {
            let cost = (times.of(rows + 1) - times.of(rows)).max(0.0) + offer.seconds;
            if cost <= *retry_seconds {
                *retry_seconds -= cost;
                offer.count = 1;
            }
        }
    }

    /// Records the time of a step.
    pub(crate) fn note_step(&mut self, plan: &StepPlan, seconds: f64) {
        if !self.drafters.is_empty() && plan.only_decodes() {
            self.times.note(plan.num_tokens(), seconds);
            self.retry_seconds = (self.retry_seconds + RETRY_SHARE * seconds).min(seconds);
        }
    }

    /// Records that the next drafted token of a sequence was accepted.
    pub(crate) fn note_accepted(&mut self, id: SequenceId) {
        let current = self.sequences.get_mut(&id).and_then(|one| one.current.as_mut());
        if let Some(draft) = current {
            draft.accepted += 1;
        }
    }

    /// Records that a sequence's draft is verified, as far as it was accepted.
    pub(crate) fn settle(&mut self, id: SequenceId) {
        let Some(speculated) = self.sequences.get_mut(&id) else { return };
        let Some(Draft { drafter, drafted, accepted }) = speculated.current.take() else { return };
        let part = &mut self.drafters[drafter];
        part.totals.accepted += accepted as u64;
        part.acceptance.note(drafted, accepted, LONG_MEMORY);
        if speculated.acceptances.len() <= drafter {
            speculated.acceptances.resize(drafter + 1, Acceptance::default());
        }
        speculated.acceptances[drafter].note(drafted, accepted, MEMORY);
    }

    /// Forgets a sequence that has ended.
    pub(crate) fn forget(&mut self, id: SequenceId) {
        self.settle(id);
        self.sequences.remove(&id);
        for part in &mut self.drafters {
            part.drafter.forget(id);
        }
    }

    /// Returns the tokens that drafters of a kind have drafted so far.
    pub(crate) fn totals(&self, kind: DraftKind) -> DraftTotals {
        let parts = self.drafters.iter().filter(|part| part.drafter.kind() == kind);
        parts.fold(DraftTotals::default(), |sum, part| DraftTotals {
            drafted: sum.drafted + part.totals.drafted,
            accepted: sum.accepted + part.totals.accepted,
        })
    }
}
