use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::regex::{AutomatonSize, automaton_size, matches};
use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::read(&serde_json::from_str(text).unwrap()).unwrap()
}

fn bound(text: &str, included: bool) -> Option<Bound> {
    Some((decimal(text), included))
}

fn is_written(numbers: &Numbers, whole: bool, text: &str) -> bool {
    matches(&numbers.expression(whole), text).unwrap()
}

#[test]
fn number_bounds_are_exact_to_the_last_digit() {
    let numbers = Numbers {
        low: bound("9007199254740993", true),
        high: bound("100000000000000000000000000000001", false),
        ..Numbers::default()
    };
    for (text, expected) in [
        ("9007199254740992", false),
        ("9007199254740993", true),
        ("9007199254740994", true),
        ("100000000000000000000000000000000", true),
        ("100000000000000000000000000000001", false),
        ("100000000000000000000000000000000.5", true),
        ("9007199254740992.9", false),
        ("-9007199254740993", false),
    ] {
        assert_eq!(is_written(&numbers, false, text), expected, "{text}");
        assert_eq!(is_written(&numbers, true, text), expected && !text.contains('.'), "{text}");
    }
}

#[test]
fn numbers_without_bounds_end_after_the_digits_of_64_bits() {
    let free = Numbers::default();
    for text in ["0", "-9223372036854775808", "18446744073709551615"] {
        assert!(is_written(&free, true, text) && is_written(&free, false, text), "{text}");
    }
    let long = "1".repeat(21);
    assert!(!is_written(&free, true, &long) && !is_written(&free, false, &long));
    assert!(!is_written(&free, false, &format!("{long}.5")));
    let above = Numbers { low: bound(&long, true), ..Numbers::default() };
    assert!(
        is_written(&above, true, &"2".repeat(22)) && !is_written(&above, true, &"2".repeat(23))
    );
    let multiples =
        Numbers { multiples: vec![decimal(&format!("1{}", "0".repeat(25)))], ..Numbers::default() };
    assert!(is_written(&multiples, true, &format!("3{}", "0".repeat(25))));
}

#[test]
fn number_expressions_match_exactly_the_accepted_numbers() {
    let mut random = StdRng::seed_from_u64(3);
    let number = |random: &mut StdRng| {
        let sign = if random.random() { "-" } else { "" };
        let digits = random.random_range(0..4);
        let whole = random.random_range(0..10_u64.pow(digits));
        let digits = random.random_range(0..4);
        let fraction: String =
            (0..digits).map(|_| char::from(b'0' + random.random_range(0..10))).collect();
        match digits {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{fraction}"),
        }
    };
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut numbers = Numbers::default();
        if random.random_bool(0.8) {
            numbers.low = bound(&number(&mut random), random.random());
        }
        if random.random_bool(0.8) {
            numbers.high = bound(&number(&mut random), random.random());
        }
        if random.random_bool(0.3) {
            let multiple = ["3", "7", "10", "300", "0.25", "0.01", "1.5", "12"];
            numbers.multiples = vec![decimal(multiple[random.random_range(0..multiple.len())])];
        }
        let (whole, any) = (numbers.expression(true), numbers.expression(false));
        for _ in 0..30 {
            let mut text = number(&mut random);
            // The bounds themselves are the critical values.
            let bounds = numbers.low.iter().chain(&numbers.high);
            if let Some((bound, _)) = bounds.last().filter(|_| random.random_bool(0.3)) {
                let digits = |digits: Vec<u8>| -> String {
                    digits.iter().map(|digit| char::from(b'0' + digit)).collect()
                };
                let fraction = digits(bound.fraction_digits());
                let sign = if bound.is_negative() { "-" } else { "" };
                let point = if fraction.is_empty() { "" } else { "." };
                text = format!("{sign}{}{point}{fraction}", digits(bound.whole_digits()));
            }
            let value = decimal(&text);
            let accepted = numbers.accepts(&value);
            let is_written = matches(&any, &text).unwrap();
            assert!(accepted || !is_written, "{numbers:?} writes {text}");
            // Zero has two signs, and multiples need no trailing zeros after the point.
            let is_plain = !value.is_zero() && (numbers.multiples.is_empty() || value.is_whole());
            if is_plain && !text.ends_with(".0") && !text.contains(".00") {
                assert_eq!(is_written, accepted, "{numbers:?}: {text}");
            }
            if !text.contains('.') && !value.is_zero() {
                assert_eq!(matches(&whole, &text).unwrap(), accepted, "{numbers:?}: {text}");
            }
            (kept, refused) = (kept + i32::from(accepted), refused + i32::from(!accepted));
        }
    }
    assert!(kept > 2_000 && refused > 2_000, "{kept} {refused}");
}

#[test]
fn number_ranges_are_empty_only_if_they_contain_no_number() {
    let between = |low: &str, high: &str, included: bool| Numbers {
        low: bound(low, included),
        high: bound(high, included),
        ..Numbers::default()
    };
    for (numbers, whole, is_empty) in [
        (between("1", "2", false), true, true),
        (between("1", "2", false), false, false),
        (between("0.1", "0.2", false), false, false),
        (between("0.1", "0.11", false), false, false),
        (between("0.1", "0.9", true), true, true),
        (between("1e30", "1e30", true), true, false),
        (Numbers { multiples: vec![decimal("7")], ..between("8", "13", true) }, true, true),
        (Numbers { multiples: vec![decimal("7")], ..between("8", "14", true) }, true, false),
    ] {
        let automaton_size = automaton_size(&numbers.expression(whole), 20_000).unwrap();
        assert_eq!(
            automaton_size == AutomatonSize::Empty,
            is_empty,
            "{numbers:?} {automaton_size:?}"
        );
    }
}
