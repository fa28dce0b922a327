//! Recognizes whole numbers in any JSON spelling: `1000`, `1000.0` and `1e3` are equal, because
//! JSON has no integer type. Exact: nothing is rounded.

/// The value of a JSON number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// A whole number.
    Is(u64),
    /// Any number below 0.
    Negative,
    /// A number that exceeds a `u64`.
    TooLarge,
    /// A number that is not whole.
    Fraction,
}

impl Whole {
    /// Parses the text of a JSON number.
    pub(super) fn of(number: &str) -> Self {
        let (negative, text) = match number.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, number),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // The digits without zeros at either end, and their distance from the decimal point.
        let digits = format!("{integer}{fraction}");
        let significant = digits.trim_end_matches('0');
        let trailing = digits.len() - significant.len();
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Self::Is(0);
        }
        // An exponent that exceeds an i64 has the same effect as the largest or smallest one.
        let huge = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
        let exponent = exponent.trim_start_matches('+').parse().unwrap_or(huge);
        let places = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4);
        let shift = exponent.saturating_add(places(trailing)) - places(fraction.len());
        if shift < 0 {
            return Self::Fraction;
        }
        if negative {
            return Self::Negative;
        }
        let power = u32::try_from(shift).ok().and_then(|shift| 10_u64.checked_pow(shift));
        let whole = power.and_then(|power| significant.parse::<u64>().ok()?.checked_mul(power));
        whole.map_or(Self::TooLarge, Self::Is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_in_every_notation() {
        for (text, value) in [
            ("0", 0),
            ("-0.0", 0),
            ("0e999999999999999999999", 0),
            ("1000", 1000),
            ("1000.000", 1000),
            ("1e3", 1000),
            ("1E+3", 1000),
            ("0.001e6", 1000),
            ("10000000e-4", 1000),
            ("1e18", 1_000_000_000_000_000_000),
            ("1e19", 10_000_000_000_000_000_000),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("1.8446744073709551615e19", u64::MAX),
        ] {
            assert_eq!(Whole::of(text), Whole::Is(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_not_whole_are_classified() {
        for (text, expected) in [
            ("1.5", Whole::Fraction),
            ("-1.5", Whole::Fraction),
            ("15e-1", Whole::Fraction),
            ("1e-999999999999999999999", Whole::Fraction),
            ("0.00001e4", Whole::Fraction),
            ("-1", Whole::Negative),
            ("-1e3", Whole::Negative),
            ("18446744073709551616", Whole::TooLarge),
            ("1.8446744073709551616e19", Whole::TooLarge),
            ("1e20", Whole::TooLarge),
            ("1e999999999999999999999", Whole::TooLarge),
        ] {
            assert_eq!(Whole::of(text), expected, "{text}");
        }
    }
}
