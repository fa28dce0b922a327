//! Distributions of figures in bounded memory, and the counts of a group of tasks.

use hdrhistogram::{Counter, Histogram};

use crate::line::{Line, Status};

/// Figures above this, in hundredths, count as this: 694 days.
const MAX_FIGURE: u64 = 6_000_000_000;

/// The distribution of a figure, in hundredths.
///
/// A histogram with buckets of a relative width: percentiles are too high by at most 1 % with two significant digits
/// and 0.1 % with three, and exact for figures up to 2.55 and 20.47.
#[derive(Debug, Clone)]
pub(crate) struct Spread<C: Counter> {
    histogram: Histogram<C>,
    sum: u64,
    max: u64,
}

impl<C: Counter> Spread<C> {
    pub(crate) fn new(digits: u8) -> Self {
        let histogram = Histogram::new(digits).expect("1 to 5 digits are allowed");
        Self { histogram, sum: 0, max: 0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, figure: u64) {
        self.sum = self.sum.saturating_add(figure);
        self.max = self.max.max(figure);
        // It resizes itself, so no figure is out of its range.
        let recorded = self.histogram.record(figure.min(MAX_FIGURE));
        debug_assert!(recorded.is_ok());
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok());
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Returns the smallest figure that `share` of all figures don't exceed (nearest rank), within the error above.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share).min(self.max)
    }
}

/// Tasks that ended, of one hour, model or owner.
#[derive(Debug, Clone)]
pub(crate) struct Group<C: Counter> {
    pub(crate) success: u64,
    pub(crate) error: u64,
    pub(crate) cancelled: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// The time of computing of successful tasks, in hundredths of a second.
    pub(crate) computing: u64,
    pub(crate) queue_wait: Spread<C>,
    pub(crate) processing_time: Spread<C>,
    pub(crate) total_time: Spread<C>,
    pub(crate) tokens_per_sec: Spread<C>,
}

impl<C: Counter> Group<C> {
    pub(crate) fn new(digits: u8) -> Self {
        Self {
            success: 0,
            error: 0,
            cancelled: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            computing: 0,
            queue_wait: Spread::new(digits),
            processing_time: Spread::new(digits),
            total_time: Spread::new(digits),
            tokens_per_sec: Spread::new(digits),
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, line: &Line<'_>) {
        match line.status {
            Status::Success => {
                self.success += 1;
                self.computing = self.computing.saturating_add(line.processing_time.unwrap_or(0));
            }
            Status::Error => self.error += 1,
            Status::Cancelled => self.cancelled += 1,
        }
        let tokens =
            |sum: &mut u64, tokens: Option<u64>| *sum = sum.saturating_add(tokens.unwrap_or(0));
        tokens(&mut self.prompt_tokens, line.prompt_tokens);
        tokens(&mut self.cached_tokens, line.cached_tokens);
        tokens(&mut self.completion_tokens, line.completion_tokens);
        let figure = |spread: &mut Spread<C>, figure: Option<u64>| {
            if let Some(figure) = figure {
                spread.add(figure);
            }
        };
        figure(&mut self.queue_wait, line.queue_wait);
        figure(&mut self.processing_time, line.processing_time);
        figure(&mut self.total_time, line.total_time);
        // An answer from the result cache was not computed at this rate.
        figure(&mut self.tokens_per_sec, line.tokens_per_sec.filter(|_| !line.is_cached));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.success, other.success),
            (&mut self.error, other.error),
            (&mut self.cancelled, other.cancelled),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.computing, other.computing),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.queue_wait.merge(&other.queue_wait);
        self.processing_time.merge(&other.processing_time);
        self.total_time.merge(&other.total_time);
        self.tokens_per_sec.merge(&other.tokens_per_sec);
    }

    pub(crate) fn tasks(&self) -> u64 {
        self.success.saturating_add(self.error).saturating_add(self.cancelled)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn percentiles_differ_from_those_of_sorted_figures_by_no_more_than_promised() {
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        for round in 0..60 {
            let count = random.random_range(1..5_000);
            let scale = random.random_range(0.0..16.0);
            let mut figures: Vec<u64> =
                (0..count).map(|_| f64::exp(random.random_range(0.0..=scale)) as u64).collect();
            // In two parts, as two threads have them.
            let (mut coarse, mut fine) = (Spread::<u32>::new(2), Spread::<u64>::new(3));
            let (mut coarse_rest, mut fine_rest) = (coarse.clone(), fine.clone());
            for (nth, figure) in figures.iter().enumerate() {
                let is_first = nth % 3 > 0;
                if is_first {
                    coarse.add(*figure)
                } else {
                    coarse_rest.add(*figure)
                }
                if is_first { fine.add(*figure) } else { fine_rest.add(*figure) }
            }
            coarse.merge(&coarse_rest);
            fine.merge(&fine_rest);
            figures.sort_unstable();
            for share in [0.001, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let rank = ((share * count as f64).ceil() as usize).clamp(1, count);
                let exact = figures[rank - 1];
                for (found, error) in
                    [(coarse.percentile(share), 0.01), (fine.percentile(share), 0.001)]
                {
                    let most = exact as f64 * (1.0 + error);
                    assert!(
                        found >= exact && found as f64 <= most,
                        "round {round}, {share}: {found} is not from {exact} to {most}"
                    );
                }
            }
            assert_eq!(coarse.count(), count as u64);
            assert_eq!((fine.sum(), fine.max()), (figures.iter().sum(), *figures.last().unwrap()));
        }
    }

    #[test]
    fn extreme_figures_need_little_memory() {
        let mut spread = Spread::<u32>::new(2);
        assert_eq!((spread.percentile(0.5), spread.max()), (0, 0), "without figures");
        spread.add(u64::MAX);
        spread.add(u64::MAX);
        spread.add(0);
        assert_eq!((spread.sum(), spread.max(), spread.count()), (u64::MAX, u64::MAX, 3));
        assert!(spread.percentile(0.9) >= MAX_FIGURE && spread.percentile(0.1) == 0);
        assert!(spread.histogram.distinct_values() * size_of::<u32>() < 16 << 10);
    }
}
