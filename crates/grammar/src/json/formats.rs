//! The supported formats of strings, as regular expressions. JSON Schema treats formats as annotations, so
//! an unknown one is not a constraint.

/// RFC 3339, `full-date`, with the lengths of months and leap years.
const DATE: &str = concat!(
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    r"|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|0[48]|[13579][26])00)-02-29)"
);
/// RFC 3339, `full-time`, without leap seconds.
const TIME: &str = concat!(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?",
    r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
);
/// RFC 3339, appendix A.
const DURATION: &str = concat!(
    r"P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)",
    r"(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))?",
    r"|T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))"
);
/// RFC 1123. Excludes two hyphens in a row, which mark encoded international names with their own rules.
const LABEL: &str = r"[a-zA-Z0-9](?:-?[a-zA-Z0-9]){0,30}";
const BYTE: &str = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const HEX: &str = r"[0-9a-fA-F]{1,4}";

/// Returns the regular expression of a format, or `None` if the format is unknown.
pub(super) fn expression(name: &str) -> Option<String> {
    let hostname = || format!(r"{LABEL}(?:\.{LABEL}){{0,4}}");
    Some(match name {
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => format!("{DATE}[tT]{TIME}"),
        "duration" => DURATION.to_owned(),
        // RFC 5321's mailbox, with a dot-string before the `@`.
        "email" => {
            let atom = r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~]{1,20}";
            format!(r"{atom}(?:\.{atom}){{0,2}}@{}", hostname())
        }
        "hostname" => hostname(),
        "ipv4" => format!(r"(?:{BYTE}\.){{3}}{BYTE}"),
        "ipv6" => ipv6(),
        "uuid" => r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
            .to_owned(),
        "uri" => uri(),
        _ => return None,
    })
}

/// RFC 4291, section 2.2, without its third form.
fn ipv6() -> String {
    let mut forms = vec![format!("(?:{HEX}:){{7}}{HEX}")];
    // `::` stands for at least two groups; `before` groups precede it, the rest follow.
    for before in 0..=6 {
        let left = match before {
            0 => String::new(),
            _ => format!("(?:{HEX}:){{{}}}{HEX}", before - 1),
        };
        let right = match 6 - before {
            0 => String::new(),
            1 => format!("(?:{HEX})?"),
            most => format!("(?:(?:{HEX}:){{0,{}}}{HEX})?", most - 1),
        };
        forms.push(format!("{left}::{right}"));
    }
    format!("(?:{})", forms.join("|"))
}

/// RFC 3986.
fn uri() -> String {
    let char = r"(?:[a-zA-Z0-9\-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})";
    let user = r"(?:[a-zA-Z0-9\-._~!$&'()*+,;=:]|%[0-9a-fA-F]{2})*";
    let name = r"(?:[a-zA-Z0-9\-._~!$&'()*+,;=]|%[0-9a-fA-F]{2})*";
    let host = format!(r"(?:\[{}\]|{name})", ipv6());
    let authority = format!(r"(?:{user}@)?{host}(?::[0-9]{{0,5}})?");
    let path =
        format!(r"(?://{authority}(?:/{char}*)*|/(?:{char}+(?:/{char}*)*)?|{char}+(?:/{char}*)*)");
    format!(r"[a-zA-Z][a-zA-Z0-9+\-.]*:{path}(?:\?(?:{char}|[/?])*)?(?:#(?:{char}|[/?])*)?")
}

#[cfg(test)]
mod tests {
    use super::super::regex::{AutomatonSize, automaton_size, matches, regex};
    use super::*;

    const NAMES: [&str; 10] = [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
        "uri",
    ];

    #[test]
    fn format_expressions_match_only_valid_texts() {
        let texts = [
            "2024-02-29",
            "2023-02-29",
            "1900-02-29",
            "2000-02-29",
            "2024-02-30",
            "2024-04-31",
            "0000-01-01",
            "2024-13-01",
            "12:00:00Z",
            "23:59:60Z",
            "24:00:00Z",
            "12:00:00",
            "12:00:00.5+01:30",
            "2024-01-01T12:00:00Z",
            "2024-01-01 12:00:00Z",
            "P1Y",
            "P1D",
            "PT5M",
            "P1W",
            "P",
            "PT",
            "P1Y2D",
            "P1DT1H",
            "a@b.c",
            "a.b@c",
            "a@",
            "@b",
            "a b@c",
            "a..b@c",
            "example.org",
            "-a",
            "a-",
            "a.b.c.d",
            "xn--a",
            "1.2.3.4",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3",
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6::8",
            "1::2::3",
            "12345::",
            "123e4567-e89b-12d3-a456-426614174000",
            "123e4567e89b12d3a456426614174000",
            "http://example.org/a?b#c",
            "urn:a:b",
            "mailto:a@b.c",
            "http://[::1]:80/",
            "/a/b",
            "a",
            "http://a b",
            "http:",
            "",
        ];
        for name in NAMES {
            let schema = serde_json::json!({"type": "string", "format": name});
            let judge = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let ours = regex(&expression(name).unwrap());
            let mut kept = 0;
            for text in texts {
                let is_written = matches(&ours, text).unwrap();
                let is_valid = judge.is_valid(&text.into());
                assert!(is_valid || !is_written, "{name}: {text:?} is written and not valid");
                kept += usize::from(is_written);
                if is_valid && !is_written {
                    // Leap seconds, international host names in their encoded form, labels of more than 31
                    // characters, and `::` in the place of a single group.
                    let is_long = name == "hostname" && text.len() > 31;
                    assert!(
                        is_long
                            || ["23:59:60Z", "xn--a", "http:", "1:2:3:4:5:6::8"].contains(&text),
                        "{name} never writes {text:?}"
                    );
                }
            }
            assert!(kept > 0, "{name}");
        }
        assert_eq!(expression("uri-reference"), None);
    }

    #[test]
    fn format_expressions_compile_to_few_lexer_states() {
        for name in NAMES {
            let automaton_size = automaton_size(&regex(&expression(name).unwrap()), 4_000).unwrap();
            println!("{name}: {automaton_size:?}");
            assert!(matches!(automaton_size, AutomatonSize::States(_)), "{name}");
        }
    }
}
