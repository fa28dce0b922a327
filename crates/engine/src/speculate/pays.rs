//! Decides how many tokens to draft: as many as raise the number of tokens per second. Pure.

/// The most rows of a step with drafts: a step with more computes for longer than it reads weights. From as many
/// sequences on, nothing is drafted.
pub(crate) const MOST_ROWS: usize = 16;

/// The time of a row beside that of the first, until it is measured.
const ROW_COST: f64 = 0.12;
/// How much faster a draft must seem, so that noise in the measured times does not cause drafts.
const LEAST_GAIN: f64 = 1.02;
/// How far a measurement moves the level of all times, and the ratio of one number of rows to the others. The level
/// follows the length of the texts and the load of the machine; the ratios depend on machine and model.
const LEVEL_PACE: f64 = 0.2;
const RATIO_PACE: f64 = 0.05;

/// The times of steps by their number of rows.
#[derive(Debug)]
pub(super) struct StepTimes {
    /// Seconds of a step of one row; `None` until a step was measured.
    level: Option<f64>,
    /// The time of a step of `index + 1` rows, as a multiple of the level.
    ratios: [f64; MOST_ROWS],
}

impl Default for StepTimes {
    fn default() -> Self {
        Self { level: None, ratios: std::array::from_fn(|more| 1.0 + ROW_COST * more as f64) }
    }
}

impl StepTimes {
    /// Records a step.
    pub(super) fn note(&mut self, rows: usize, seconds: f64) {
        let Some(ratio) = rows.checked_sub(1).and_then(|place| self.ratios.get_mut(place)) else {
            return;
        };
        let level = self.level.get_or_insert(seconds / *ratio);
        // A step that another program held up says little.
        let off = (seconds / (*level * *ratio)).clamp(0.5, 2.0);
        *level *= off.powf(LEVEL_PACE);
        *ratio *= off.powf(RATIO_PACE);
    }

    /// Returns the expected seconds of a step of 1 to [`MOST_ROWS`] rows.
    pub(super) fn of(&self, rows: usize) -> f64 {
        self.level.unwrap_or(1.0) * self.ratios[rows.clamp(1, MOST_ROWS) - 1]
    }
}

/// A draft that a sequence may get.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The place of the sequence's chunk in the plan.
    pub(super) place: usize,
    /// The drafter.
    pub(super) drafter: usize,
    /// The most tokens.
    pub(super) most: usize,
    /// The probability that a token is accepted if those before it are.
    pub(super) probability: f64,
    /// The time to draft a token.
    pub(super) seconds: f64,
    /// The tokens to draft.
    pub(super) count: usize,
}

impl Offer {
    /// Returns the probability that the next token after those to draft is reached and accepted.
    fn next(&self) -> f64 {
        self.probability.powi(self.count as i32 + 1)
    }
}

/// Sets how many tokens each offer drafts in a step of `rows` sequences: those that raise the expected tokens per
/// second most. Adds the likeliest tokens one by one, since several rows may cost as little as one.
pub(super) fn choose(rows: usize, offers: &mut [Offer], times: &StepTimes) {
    let mut order = [0; MOST_ROWS];
    let (mut added, mut worth) = (0, 0);
    let (mut tokens, mut drafting) = (rows as f64, 0.0);
    let mut best = tokens / times.of(rows) * LEAST_GAIN;
    while rows + added < MOST_ROWS {
        let open = offers.iter_mut().enumerate().filter(|(_, offer)| offer.count < offer.most);
        let next = open.max_by(|(_, a), (_, b)| a.next().total_cmp(&b.next()));
        let Some((place, offer)) = next else { break };
        tokens += offer.next();
        drafting += offer.seconds;
        offer.count += 1;
        order[added] = place;
        added += 1;
        let rate = tokens / (times.of(rows + added) + drafting);
        if rate > best {
            (best, worth) = (rate, added);
        }
    }
    for place in &order[worth..added] {
        offers[*place].count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(probability: f64, seconds: f64) -> Offer {
        Offer { place: 0, drafter: 0, most: 15, probability, seconds, count: 0 }
    }

    fn counts(rows: usize, offers: &[Offer], times: &StepTimes) -> Vec<usize> {
        let mut offers = offers.to_vec();
        choose(rows, &mut offers, times);
        offers.iter().map(|offer| offer.count).collect()
    }

    /// Times of a machine on which a row costs a fixed part of a step.
    fn times(row_cost: f64) -> StepTimes {
        let mut times = StepTimes::default();
        for _ in 0..400 {
            (1..=MOST_ROWS)
                .for_each(|rows| times.note(rows, 0.02 * (1.0 + row_cost * (rows - 1) as f64)));
        }
        times
    }

    #[test]
    fn times_are_learned_and_bear_outliers() {
        let mut times = times(0.5);
        for rows in 1..=MOST_ROWS {
            let (learned, real) = (times.of(rows), 0.02 * (1.0 + 0.5 * (rows - 1) as f64));
            assert!((learned / real - 1.0).abs() < 0.05, "{rows}: {learned} {real}");
        }
        let before = times.of(3);
        times.note(3, 10.0);
        assert!(times.of(3) < 1.3 * before);
        // Twice as long texts make all steps slower, whatever the number of rows that was measured.
        (0..50).for_each(|_| times.note(1, 0.04));
        assert!(times.of(8) > 1.4 * 0.02 * 4.5);
        times.note(MOST_ROWS + 1, 1.0);
        times.note(0, 1.0);
    }

    #[test]
    fn likely_tokens_are_drafted_and_unlikely_ones_are_not() {
        let cheap = times(0.1);
        assert!(counts(1, &[offer(0.95, 0.0)], &cheap)[0] >= 8);
        assert_eq!(counts(1, &[offer(0.05, 0.0)], &cheap), [0]);
        let some = counts(1, &[offer(0.5, 0.0)], &cheap)[0];
        assert!((1..=4).contains(&some), "{some}");
        // A row as dear as a step never pays.
        assert_eq!(counts(1, &[offer(0.95, 0.0)], &times(1.0)), [0]);
    }

    #[test]
    fn a_full_batch_drafts_less_or_nothing() {
        let cheap = times(0.15);
        let drafted = |rows: usize| -> usize {
            counts(rows, &vec![offer(0.6, 0.0); rows], &cheap).iter().sum()
        };
        assert!(drafted(1) > 0);
        assert_eq!((drafted(14), drafted(MOST_ROWS), drafted(40)), (0, 0, 0));
        // The likelier sequence is drafted for first.
        let two = counts(2, &[offer(0.3, 0.0), offer(0.9, 0.0)], &cheap);
        assert!(two[1] > two[0]);
    }

    #[test]
    fn the_time_of_the_drafter_counts() {
        let cheap = times(0.1);
        let (free, slow) = (offer(0.8, 0.0), offer(0.8, 0.008));
        assert!(counts(1, &[slow], &cheap) < counts(1, &[free], &cheap));
        assert_eq!(counts(1, &[offer(0.8, 0.02)], &cheap), [0]);
    }

    #[test]
    fn rows_in_steps_are_drafted_up_to_the_end_of_a_step() {
        // Two to four rows cost the same: one drafted token does not pay, three do.
        let mut times = StepTimes::default();
        for _ in 0..400 {
            for rows in 1..=MOST_ROWS {
                times.note(rows, if rows == 1 { 1.0 } else { 1.6 * rows.div_ceil(4) as f64 });
            }
        }
        let most = Offer { most: 1, ..offer(0.55, 0.0) };
        assert_eq!(counts(1, &[most], &times), [0]);
        assert_eq!(counts(1, &[offer(0.55, 0.0)], &times), [3]);
    }
}
