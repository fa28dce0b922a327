//! Numbers within bounds, as regular expressions over their digits: exact for any length.

use llguidance::derivre::RegexAst;

use super::decimal::Decimal;
use super::regex::{literal, one_of, regex, sequence};

/// The maximum number of digits before the point, unless a bound or a divisor needs more: enough for all integers of
/// 64 bits. Without a maximum, a weak model may fill an answer with digits.
const WHOLE_DIGITS: usize = 20;
/// The maximum number of digits after the point, unless a bound has more.
const FRACTION_DIGITS: usize = 15;
/// The largest coefficient of a `multipleOf` (12 for 0.012): a lexer has a state for each remainder.
pub(super) const MAX_COEFFICIENT: u32 = 4_096;
/// The maximum number of digits after the point of a `multipleOf`, unless it is a power of ten.
pub(super) const MAX_SCALE: i64 = 5;

/// A bound, and whether it is inclusive.
pub(super) type Bound = (Decimal, bool);

/// Constraints on numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub(super) low: Option<Bound>,
    pub(super) high: Option<Bound>,
    /// Divisors; each is positive and satisfies [`is_supported_multiple`].
    pub(super) multiples: Vec<Decimal>,
}

/// Returns whether `multipleOf` this number is supported.
pub(super) fn is_supported_multiple(multiple: &Decimal) -> bool {
    multiple.scientific().is_some_and(|(coefficient, exponent)| {
        coefficient == 1 || (coefficient <= MAX_COEFFICIENT && exponent >= -MAX_SCALE)
    })
}

impl Numbers {
    /// Combines two constraints, so that both hold.
    pub(super) fn meet(&mut self, other: &Self) {
        if let Some(bound) = &other.low {
            self.raise(bound.clone());
        }
        if let Some(bound) = &other.high {
            self.lower(bound.clone());
        }
        for multiple in &other.multiples {
            if !self.multiples.contains(multiple) {
                self.multiples.push(multiple.clone());
            }
        }
    }

    /// Adds a lower bound.
    pub(super) fn raise(&mut self, bound: Bound) {
        let is_tighter = |(low, included): &Bound| bound.0 > *low || (bound.0 == *low && *included);
        if self.low.as_ref().is_none_or(is_tighter) {
            self.low = Some(bound);
        }
    }

    /// Adds an upper bound.
    pub(super) fn lower(&mut self, bound: Bound) {
        let is_tighter =
            |(high, included): &Bound| bound.0 < *high || (bound.0 == *high && *included);
        if self.high.as_ref().is_none_or(is_tighter) {
            self.high = Some(bound);
        }
    }

    /// Returns whether no number is within both bounds.
    pub(super) fn is_empty(&self) -> bool {
        match (&self.low, &self.high) {
            (Some((low, low_in)), Some((high, high_in))) => {
                low > high || (low == high && !(*low_in && *high_in))
            }
            _ => false,
        }
    }

    pub(super) fn accepts(&self, number: &Decimal) -> bool {
        let above = |(low, included): &Bound| number > low || (*included && number == low);
        let below = |(high, included): &Bound| number < high || (*included && number == high);
        self.low.as_ref().is_none_or(above)
            && self.high.as_ref().is_none_or(below)
            && self.multiples.iter().all(|multiple| number.is_multiple_of(multiple))
    }

    /// Returns an expression for the numbers, or if `whole` for those without a fraction.
    pub(super) fn expression(&self, whole: bool) -> RegexAst {
        let is_free = self.low.is_none() && self.high.is_none() && self.multiples.is_empty();
        let more = self.whole_digits() - 1;
        let integer = format!("-?(0|[1-9][0-9]{{0,{more}}})");
        let form = match (whole, is_free) {
            (true, _) => integer,
            // Exponents of three digits exceed the range of most readers.
            (false, true) => {
                format!("{integer}(\\.[0-9]{{1,{FRACTION_DIGITS}}})?([eE][+-]?[0-9]{{1,2}})?")
            }
            (false, false) => format!("{integer}(\\.[0-9]{{1,{}}})?", self.fraction_digits()),
        };
        let form = regex(&form);
        let mut all = vec![form];
        all.extend(self.low.as_ref().map(|(low, included)| at_least(low, *included)));
        all.extend(self.high.as_ref().map(|(high, included)| at_most(high, *included)));
        all.extend(self.multiples.iter().map(multiples_of));
        if all.len() == 1 { all.swap_remove(0) } else { RegexAst::And(all) }
    }

    /// Returns the maximum number of digits before the point.
    fn whole_digits(&self) -> usize {
        let bounds = self.low.iter().chain(&self.high).map(|(bound, _)| bound);
        let needed = bounds.chain(&self.multiples).map(|number| 1 + number.whole_digits().len());
        needed.max().unwrap_or(0).max(WHOLE_DIGITS)
    }

    /// Returns the number of digits after the point: enough that a number exists between the two bounds, and
    /// within them no more than 64-bit floats can distinguish.
    fn fraction_digits(&self) -> usize {
        let bounds = || self.low.iter().chain(&self.high).map(|(bound, _)| bound);
        let whole = bounds().map(|bound| bound.whole_digits().len()).max().unwrap_or(1);
        let fraction = bounds().map(|bound| bound.fraction_digits().len()).max().unwrap_or(0);
        FRACTION_DIGITS.saturating_sub(whole).max(fraction + 1)
    }
}

fn at_least(low: &Decimal, included: bool) -> RegexAst {
    if low.is_negative() {
        let above = sequence([literal("-"), unsigned_at_most(&low.magnitude(), included)]);
        one_of([regex("[0-9].*"), above])
    } else {
        unsigned_at_least(low, included)
    }
}

fn at_most(high: &Decimal, included: bool) -> RegexAst {
    if high.is_negative() || (high.is_zero() && !included) {
        sequence([literal("-"), unsigned_at_least(&high.magnitude(), included)])
    } else {
        one_of([regex("-.*"), unsigned_at_most(high, included)])
    }
}

/// Returns an expression for unsigned numbers that are at least this one.
fn unsigned_at_least(low: &Decimal, included: bool) -> RegexAst {
    let (whole, fraction) = (low.whole_digits(), low.fraction_digits());
    let longer = regex(&format!("[1-9][0-9]{{{},}}(\\.[0-9]+)?", whole.len()));
    let larger = sequence([same_length(&whole, Side::Above), regex("(\\.[0-9]+)?")]);
    let nonzero = || regex("[0-9]*[1-9][0-9]*");
    let after = if fraction.is_empty() {
        match included {
            true => regex("(\\.[0-9]+)?"),
            false => sequence([literal("."), nonzero()]),
        }
    } else {
        let end = if included { regex("[0-9]*") } else { nonzero() };
        let digits = fraction.iter().rev().fold(end, |rest, digit| {
            let larger = digit_range(digit + 1, 9).map(|digit| sequence([digit, regex("[0-9]*")]));
            one_of(larger.into_iter().chain([sequence([text_of(&[*digit]), rest])]))
        });
        sequence([literal("."), digits])
    };
    one_of([longer, larger, sequence([text_of(&whole), after])])
}

/// Returns an expression for unsigned numbers that are at most this one.
fn unsigned_at_most(high: &Decimal, included: bool) -> RegexAst {
    let (whole, fraction) = (high.whole_digits(), high.fraction_digits());
    let any_fraction = || regex("(\\.[0-9]+)?");
    let mut all = Vec::new();
    if whole.len() > 1 {
        all.push(regex(&format!("(0|[1-9][0-9]{{0,{}}})(\\.[0-9]+)?", whole.len() - 2)));
    }
    all.push(sequence([same_length(&whole, Side::Below), any_fraction()]));
    let after = if fraction.is_empty() {
        if included { regex("(\\.0+)?") } else { RegexAst::NoMatch }
    } else {
        // A number that stops before the last digit, which is not zero, is smaller.
        let end = if included { regex("0*") } else { RegexAst::NoMatch };
        let last = fraction.len() - 1;
        let digits = fraction.iter().enumerate().rev().fold(end, |rest, (index, digit)| {
            let less = digit.checked_sub(1).and_then(|most| digit_range(0, most));
            let less = less.map(|digit| sequence([digit, regex("[0-9]*")]));
            let stop = (index < last).then_some(RegexAst::EmptyString);
            let rest = one_of(stop.into_iter().chain([rest]));
            one_of(less.into_iter().chain([sequence([text_of(&[*digit]), rest])]))
        });
        one_of([RegexAst::EmptyString, sequence([literal("."), digits])])
    };
    all.push(sequence([text_of(&whole), after]));
    one_of(all)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// Returns expressions for whole numbers of the same length that are smaller or larger.
fn same_length(digits: &[u8], side: Side) -> RegexAst {
    let places = digits.iter().enumerate().rev();
    places.fold(RegexAst::NoMatch, |rest, (index, digit)| {
        let least = u8::from(index == 0 && digits.len() > 1); // no leading zero
        let other = match side {
            Side::Above => digit_range(digit + 1, 9),
            Side::Below => digit.checked_sub(1).and_then(|most| digit_range(least, most)),
        };
        let others = digits.len() - index - 1;
        let other = other.map(|one| sequence([one, regex(&format!("[0-9]{{{others}}}"))]));
        one_of(other.into_iter().chain([sequence([text_of(&[*digit]), rest])]))
    })
}

fn multiples_of(multiple: &Decimal) -> RegexAst {
    let Some((coefficient, exponent)) = multiple.scientific() else { return RegexAst::NoMatch };
    let sign = regex("-?");
    match u32::try_from(exponent) {
        Ok(zeros) => {
            let first = match coefficient {
                1 => regex("[1-9][0-9]*"),
                _ => RegexAst::MultipleOf(coefficient, 0),
            };
            // The multiples of 3000 are 0 and a multiple of 3 followed by 000; every number is one of 1.
            let last = regex(&format!("0{{{zeros}}}"));
            one_of([sequence([sign, sequence([first, last])]), regex("-?0")])
        }
        Err(_) => {
            let scale = u32::try_from(exponent.unsigned_abs()).unwrap_or(u32::MAX);
            let digits = match coefficient {
                1 => regex(&format!("[0-9]+(\\.[0-9]{{1,{scale}}})?")),
                _ => RegexAst::MultipleOf(coefficient, scale),
            };
            sequence([sign, digits])
        }
    }
}

fn text_of(digits: &[u8]) -> RegexAst {
    RegexAst::Literal(digits.iter().map(|digit| char::from(b'0' + digit)).collect())
}

/// Returns an expression for a digit from `least` to `most`, or `None` if the range is empty.
fn digit_range(least: u8, most: u8) -> Option<RegexAst> {
    (least <= most && most <= 9).then(|| regex(&format!("[{least}-{most}]")))
}

#[cfg(test)]
mod tests;
