//! [`Rate`]: a number of requests in a period.

use std::str::FromStr;

/// A limit such as `10/minute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of requests; at least 1.
    pub requests: u64,
    /// The period in seconds.
    pub period_s: u32,
}

impl FromStr for Rate {
    type Err = ();

    /// Parses a number, a slash and a unit: `10/minute`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (requests, unit) = text.split_once('/').ok_or(())?;
        let requests: u64 = requests.trim().parse().map_err(drop)?;
        let period_s = match unit.trim() {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            _ => return Err(()),
        };
        (1..=1_000_000_000).contains(&requests).then_some(Self { requests, period_s }).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_number_and_a_unit() {
        for (text, requests, period_s) in
            [("10/minute", 10, 60), ("1/second", 1, 1), ("7 / hour", 7, 3600), ("9/day", 9, 86_400)]
        {
            assert_eq!(text.parse(), Ok(Rate { requests, period_s }), "{text}");
        }
        for wrong in
            ["", "10", "0/minute", "-1/minute", "1.5/hour", "10/week", "10/minutes", "/day"]
        {
            assert_eq!(wrong.parse::<Rate>(), Err(()), "{wrong}");
        }
    }
}
