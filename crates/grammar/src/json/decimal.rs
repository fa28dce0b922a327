//! Decimal numbers of any length, parsed from JSON and compared exactly.

use std::cmp::Ordering;

/// The maximum number of digits of a number in a schema, written without an exponent.
pub(super) const MAX_DIGITS: usize = 400;

/// A decimal number: ±0.d₁d₂d₃… · 10^`point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// The digits without leading and trailing zeros; empty for zero.
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    pub(super) const ZERO: Self = Self { negative: false, digits: Vec::new(), point: 0 };

    /// Parses a JSON number; returns `None` if it has more than [`MAX_DIGITS`] digits.
    pub(super) fn read(number: &serde_json::Number) -> Option<Self> {
        Self::parse(&number.to_string())
    }

    fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (text, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| byte.wrapping_sub(b'0'));
        if digits().any(|digit| digit > 9) {
            return None;
        }
        let leading = digits().take_while(|digit| *digit == 0).count();
        let mut digits: Vec<u8> = digits().skip(leading).collect();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self::ZERO);
        }
        let exponent: i64 = exponent.parse().ok()?;
        let point = (i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?)
            .checked_add(exponent)?;
        let most = i64::try_from(MAX_DIGITS).ok()?;
        let fits = digits.len() <= MAX_DIGITS && point.abs() <= most;
        fits.then_some(Self { negative, digits, point })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    pub(super) fn is_negative(&self) -> bool {
        self.negative
    }

    pub(super) fn is_whole(&self) -> bool {
        usize::try_from(self.point).map_or(self.is_zero(), |point| self.digits.len() <= point)
    }

    /// Returns the absolute value.
    pub(super) fn magnitude(&self) -> Self {
        Self { negative: false, ..self.clone() }
    }

    /// Returns the digits before the point, at least one, without leading zeros.
    pub(super) fn whole_digits(&self) -> Vec<u8> {
        match usize::try_from(self.point) {
            Ok(0) | Err(_) => vec![0],
            Ok(point) => {
                let digits = self.digits.iter().copied().chain(std::iter::repeat(0));
                if self.is_zero() { vec![0] } else { digits.take(point).collect() }
            }
        }
    }

    /// Returns the digits after the point, without trailing zeros.
    pub(super) fn fraction_digits(&self) -> Vec<u8> {
        match usize::try_from(self.point) {
            Ok(point) => self.digits.iter().copied().skip(point).collect(),
            Err(_) => {
                let zeros = usize::try_from(self.point.unsigned_abs()).unwrap_or(MAX_DIGITS);
                std::iter::repeat_n(0, zeros).chain(self.digits.iter().copied()).collect()
            }
        }
    }

    /// Returns the number as `coefficient` · 10^`exponent`, where the coefficient is not a multiple of ten;
    /// `None` if the coefficient has more than nine digits.
    pub(super) fn scientific(&self) -> Option<(u32, i64)> {
        if self.digits.len() > 9 {
            return None;
        }
        let coefficient = self.digits.iter().fold(0, |value, digit| value * 10 + u32::from(*digit));
        Some((coefficient, self.point - i64::try_from(self.digits.len()).ok()?))
    }

    /// Returns whether it is a multiple of `divisor`, which must be nonzero and [have few
    /// digits](Self::scientific).
    pub(super) fn is_multiple_of(&self, divisor: &Self) -> bool {
        let Some((coefficient, exponent)) = divisor.scientific().filter(|(c, _)| *c > 0) else {
            return false;
        };
        if self.is_zero() {
            return true;
        }
        let coefficient = u64::from(coefficient);
        // self = digits · 10^least; the last digit is not zero, so no power of ten divides the digits.
        let least = self.point - i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let Ok(zeros) = usize::try_from(least - exponent) else { return false };
        let digits = self.digits.iter().copied().chain(std::iter::repeat_n(0, zeros));
        digits.fold(0, |rest, digit| (rest * 10 + u64::from(digit)) % coefficient) == 0
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitudes = || match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
            }
        };
        match (self.negative, other.negative) {
            (false, false) => magnitudes(),
            (true, true) => magnitudes().reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn decimals_are_parsed_and_compared_exactly() {
        let ascending = [
            "-1e30",
            "-1000000000000000000000000000.5",
            "-2",
            "-0.25",
            "0",
            "1e-30",
            "0.1",
            "0.1000000000000000000000001",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551616",
            "18446744073709551616.5",
            "1E+31",
        ];
        for pair in ascending.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
        for (one, same) in [("100", "1e2"), ("-0.0", "0"), ("12.50", "1.25E1"), ("0.001", "1e-3")] {
            assert_eq!(decimal(one), decimal(same));
        }
        assert!(Decimal::parse("1e401").is_none() && Decimal::parse("1e99999999999999").is_none());
    }

    #[test]
    fn decimals_split_into_whole_and_fraction_digits() {
        for (text, whole, fraction) in [
            ("0", "0", ""),
            ("120.050", "120", "05"),
            ("0.004", "0", "004"),
            ("5e3", "5000", ""),
            ("1.5e-2", "0", "015"),
        ] {
            let text_of = |digits: Vec<u8>| -> String {
                digits.into_iter().map(|digit| char::from(b'0' + digit)).collect()
            };
            let decimal = decimal(text);
            assert_eq!(text_of(decimal.whole_digits()), whole, "{text}");
            assert_eq!(text_of(decimal.fraction_digits()), fraction, "{text}");
            assert_eq!(decimal.is_whole(), fraction.is_empty());
        }
    }

    #[test]
    fn multiple_of_is_exact() {
        for (number, divisor, expected) in [
            ("9007199254740993", "3", true),
            ("9007199254740994", "3", false),
            ("1e30", "7e3", false),
            ("7e30", "7e3", true),
            ("0.75", "0.25", true),
            ("0.7", "0.25", false),
            ("-6", "3", true),
            ("0", "5", true),
            ("5", "10", false),
            ("12.5", "25e-1", true),
        ] {
            let is_multiple = decimal(number).is_multiple_of(&decimal(divisor));
            assert_eq!(is_multiple, expected, "{number} of {divisor}");
        }
    }
}
