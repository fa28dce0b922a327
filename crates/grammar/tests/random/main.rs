//! Random schemas: each is refused at once, with the place and the reason, or every answer that its masks
//! allow is valid by it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod schemas;
mod walk;

use chat::Constraint;
use grammar::{Grammars, Token, check};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// Bytes, some tokens of more than one, and the end.
fn vocabulary() -> Vec<Vec<u8>> {
    let longer = [
        "\"", "\":", "\": ", "\",", "{\"", "},", "}]", "]}", "\"}", "true", "false", "null", "00",
        "123", "-1", "e+", ".5", "\\n", "\\u00", "ab", "name", "the ", "  ", "\n  ", "é", "ö",
        "🦙", "x1", ", \"", "[]", "{}", "\": {\"", "kind",
    ];
    (0..=255).map(|byte| vec![byte]).chain(longer.map(|text| text.as_bytes().to_vec())).collect()
}

/// An answer that the masks allow, or why there is none.
fn answer(
    grammars: &Grammars,
    constraint: &Constraint,
    vocabulary: &[Vec<u8>],
    random: &mut StdRng,
) -> Result<String, String> {
    let end = vocabulary.len() as u32;
    let mut matcher = grammars.begin(constraint).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    for step in 0..20_000 {
        let mask = matcher
            .mask()
            .map_err(|error| format!("{error} after {:?}", String::from_utf8_lossy(&text)))?;
        let allowed: Vec<u32> = (0..=end).filter(|token| mask.contains(*token)).collect();
        if allowed.is_empty() {
            return Err(format!("nothing may follow {:?}", String::from_utf8_lossy(&text)));
        }
        let token = walk::draw(
            &allowed,
            |token| vocabulary.get(token as usize).map(Vec::as_slice),
            step,
            random,
        );
        if token == end {
            break;
        }
        matcher.accept(token).map_err(|error| error.to_string())?;
        text.extend(&vocabulary[token as usize]);
        if matcher.is_complete() {
            break;
        }
        if step == 19_999 {
            let tail = String::from_utf8_lossy(&text);
            let tail: Vec<char> = tail.chars().rev().take(200).collect();
            let tail: String = tail.into_iter().rev().collect();
            return Err(format!("no end after {step} tokens: …{tail:?}"));
        }
    }
    String::from_utf8(text).map_err(|error| error.to_string())
}

#[test]
fn random_schemas_are_refused_or_all_generated_answers_validate() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (from, count, answers) =
        (number("SCHEMAS_FROM", 0), number("SCHEMAS", 150), number("ANSWERS", 4));
    let vocabulary = vocabulary();
    let tokens = vocabulary.iter().map(|bytes| Token::Bytes(bytes)).chain([Token::Hidden]);
    let grammars = Grammars::new(tokens, &[vocabulary.len() as u32]).unwrap();
    let (mut kept, mut reasons, mut failures) = (0, std::collections::BTreeMap::new(), Vec::new());
    for seed in from..from + count {
        let schema = schemas::random(seed);
        let constraint = Constraint::JsonSchema(schema.clone());
        if let Err(error) = check(&constraint) {
            if error.pointer().is_none() {
                failures.push(format!("{seed}: refused without a place: {error}\n{schema}"));
            }
            let reason = error.to_string();
            let reason = reason.split(" (at ").next().unwrap().to_owned();
            reasons.entry(reason).or_insert_with(Vec::new).push(seed);
            continue;
        }
        kept += 1;
        // Formats that are not known are annotations: these two the judge would check.
        let judge = jsonschema::options().should_validate_formats(true);
        let judge = judge.with_format("uri-reference", |_| true).with_format("regex", |_| true);
        let judge = judge.build(&schema);
        let judge = judge.unwrap_or_else(|error| panic!("{seed}: {error}: {schema}"));
        for number in 0..answers {
            let mut random = StdRng::seed_from_u64(seed * 1_000 + number);
            let verdict =
                answer(&grammars, &constraint, &vocabulary, &mut random).and_then(|text| {
                    let value: Value =
                        serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
                    judge
                        .validate(&value)
                        .map_err(|error| format!("{text}: {error} at {}", error.instance_path()))
                });
            if let Err(error) = verdict {
                failures.push(format!("{seed}: {error}\n{schema}"));
                break;
            }
        }
    }
    for (reason, seeds) in &reasons {
        println!("{:5} {reason} {:?}", seeds.len(), &seeds[..seeds.len().min(5)]);
    }
    println!("{kept} of {count} kept");
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    assert!(kept * 2 > count, "only {kept} of {count} schemas are kept");
}
