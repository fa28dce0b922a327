//! What one thread counts: the tasks by period, model and owner, the errors by kind, and the malformed lines.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::clock::Clock;
use crate::figures::Group;
use crate::filter::Filter;
use crate::kind::kind;
use crate::line::{self, Line, Malformed, Status};
use crate::names::{ByName, Names};
use crate::periods::Periods;
use crate::scan::{Place, Sink};

/// The maximum number of models, owners and kinds of errors that have their own counts.
const MAX_MODELS: usize = 100;
const MAX_OWNERS: usize = 200;
const MAX_KINDS: usize = 100;
/// The number of malformed lines that are shown, and the length of each in bytes.
const SAMPLES: usize = 5;
const SAMPLE_BYTES: usize = 160;

/// A malformed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) place: Place,
    pub(crate) why: Malformed,
    /// Its beginning.
    pub(crate) text: Vec<u8>,
    /// The text is not the whole line.
    pub(crate) is_cut: bool,
}

/// The counts of one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    filter: Filter,
    clock: Clock,
    /// All lines, also those that are malformed or filtered out.
    pub(crate) lines: u64,
    pub(crate) filtered_out: u64,
    pub(crate) malformed: u64,
    /// The first malformed lines.
    pub(crate) samples: Vec<Sample>,
    /// The first and the last time.
    pub(crate) span: Option<(i64, i64)>,
    pub(crate) total: Group<u64>,
    pub(crate) periods: Periods,
    pub(crate) models: ByName<Box<Group<u32>>>,
    pub(crate) owners: ByName<Box<Group<u32>>>,
    pub(crate) kinds: ByName<u64>,
}

impl Tally {
    /// Returns `count` tallies that share their names.
    pub(crate) fn for_threads(count: usize, filter: &Filter) -> Vec<Self> {
        let (models, owners, kinds) =
            (Names::new(MAX_MODELS), Names::new(MAX_OWNERS), Names::new(MAX_KINDS));
        let tally = |_| Self {
            filter: filter.clone(),
            clock: Clock::default(),
            lines: 0,
            filtered_out: 0,
            malformed: 0,
            samples: Vec::new(),
            span: None,
            total: Group::new(3),
            periods: Periods::new(),
            models: ByName::new(Arc::clone(&models)),
            owners: ByName::new(Arc::clone(&owners)),
            kinds: ByName::new(Arc::clone(&kinds)),
        };
        (0..count).map(tally).collect()
    }

    #[inline]
    fn add(&mut self, line: &Line<'_>) {
        let (first, last) = self.span.unwrap_or((line.at, line.at));
        self.span = Some((first.min(line.at), last.max(line.at)));
        self.total.add(line);
        self.periods.add(line);
        let group = || Box::new(Group::new(2));
        if let Some(model) = line.model {
            self.models.get(&model.bytes(), group).add(line);
        }
        if let Some(owner) = line.owner {
            self.owners.get(&owner.bytes(), group).add(line);
        }
        if line.status == Status::Error {
            *self.kinds.get(kind(line).as_bytes(), || 0) += 1;
        }
    }

    #[cold]
    fn add_malformed(&mut self, place: Place, line: &[u8], why: Malformed) {
        self.malformed += 1;
        // The lines of one thread are in order.
        if self.samples.len() < SAMPLES {
            let text = line[..line.len().min(SAMPLE_BYTES)].to_vec();
            self.samples.push(Sample { place, why, is_cut: text.len() < line.len(), text });
        }
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.lines += other.lines;
        self.filtered_out += other.filtered_out;
        self.malformed += other.malformed;
        self.samples.extend(other.samples);
        self.samples.sort_by_key(|sample| sample.place);
        self.samples.truncate(SAMPLES);
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (mine, theirs) => mine.or(theirs),
        };
        self.total.merge(&other.total);
        self.periods.merge(other.periods);
        self.models.merge(other.models, |mine, theirs| mine.merge(&theirs));
        self.owners.merge(other.owners, |mine, theirs| mine.merge(&theirs));
        self.kinds.merge(other.kinds, |mine, theirs| *mine += theirs);
        self
    }
}

impl Sink for Tally {
    #[inline]
    fn take(&mut self, place: Place, line: &[u8], is_too_long: bool) -> ControlFlow<()> {
        self.lines += 1;
        let parsed = match is_too_long {
            false => line::parse(line, &mut self.clock),
            true => Err(Malformed::TooLong),
        };
        match parsed {
            Ok(line) if self.filter.takes(&line) => self.add(&line),
            Ok(_) => self.filtered_out += 1,
            Err(why) => self.add_malformed(place, line, why),
        }
        ControlFlow::Continue(())
    }
}
