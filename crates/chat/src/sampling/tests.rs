use super::*;

fn recommended() -> Sampling {
    Sampling { temperature: Some(0.6), top_p: Some(0.95), top_k: Some(20), ..Sampling::default() }
}

#[test]
fn the_request_goes_before_the_model_and_the_model_before_the_service() {
    let none = Sampling::default();
    let service = Sampling { temperature: Some(0.7), top_p: Some(0.9), ..Sampling::default() };
    assert_eq!(none.resolved(&none), service);
    assert_eq!(none.resolved(&recommended()), recommended());
    let asked = Sampling { temperature: Some(0.7), top_k: Some(0), ..Sampling::default() };
    let mixed = Sampling { top_p: Some(0.95), ..asked.clone() };
    assert_eq!(asked.resolved(&recommended()), mixed);
    assert_eq!(Sampling::greedy().resolved(&recommended()), Sampling::greedy());
}

#[test]
fn only_recommended_values_of_unset_fields_are_used() {
    let asked = Sampling { top_p: Some(0.5), ..Sampling::default() };
    let used = Sampling { top_p: None, ..recommended() };
    assert_eq!(asked.used_of(&recommended()), used);
    assert!(Sampling::greedy().used_of(&recommended()).is_empty());
    // A model may not set the seed.
    let odd = Sampling { seed: Some(1), ..recommended() };
    assert_eq!(Sampling::default().used_of(&odd), recommended());
}

#[test]
fn what_is_not_set_is_not_stored() {
    let text = serde_json::to_string(&recommended()).unwrap();
    assert_eq!(text, r#"{"temperature":0.6,"top_p":0.95,"top_k":20}"#);
    assert_eq!(recommended().to_string(), "temperature 0.6, top_p 0.95, top_k 20");
    let all = Sampling {
        seed: Some(u64::MAX),
        min_p: Some(0.1),
        repetition_penalty: Some(1.1),
        presence_penalty: Some(-0.3),
        frequency_penalty: Some(0.7),
        logit_bias: [(7, -100.0), (8, 0.1)].into(),
        logprobs: Some(0),
        ..recommended()
    };
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Sampling>(&text).unwrap(), all, "{text}");
}

/// Outcomes hold the recommended values that were used; serde buffers such enums.
#[test]
fn it_travels_within_a_tagged_enum() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "state")]
    enum Tagged {
        One { used: Sampling },
    }
    let text = serde_json::to_string(&Tagged::One { used: recommended() }).unwrap();
    let read = serde_json::from_str::<Tagged>(&text).unwrap();
    assert_eq!(read, Tagged::One { used: recommended() }, "{text}");
}

#[test]
fn every_field_is_got_and_set_by_its_name() {
    let mut sampling = Sampling::default();
    for field in Sampling::FIELDS {
        let example = match field.range {
            Range::Fraction { .. } => field.range.fraction(field.example),
            Range::Whole { .. } => Number::Whole(field.example as u64),
        };
        assert!(field.range.check(field.example).is_ok(), "{}", field.name);
        sampling.set(field.name, Some(example));
        assert_eq!(sampling.get(field.name), Some(example), "{}", field.name);
    }
    sampling.set("top_k", Some(Number::Whole(1 << 40)));
    assert_eq!(sampling.top_k, None);
}

/// docs/API.md has a row for each field, with its type, its range and its default.
#[test]
fn the_api_documents_every_field() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/API.md");
    let docs = std::fs::read_to_string(path).unwrap();
    for field in Sampling::FIELDS {
        let (kind, allowed) = match field.range {
            Range::Fraction { least, above, most } => (
                "number",
                if above {
                    format!("above {least}, to {most}")
                } else {
                    format!("{least} to {most}")
                },
            ),
            Range::Whole { least, most, none } => {
                let none: Vec<String> = none.iter().map(|none| format!("or {none}")).collect();
                ("integer", format!("{least} to {most}, {}", none.join(" ")))
            }
        };
        let row = format!("| `{}` | {kind} | {allowed} | ", field.name);
        let rest =
            docs.split(&row).nth(1).unwrap_or_else(|| panic!("docs/API.md has no row {row:?}"));
        let default = rest.split('|').next().unwrap();
        let number = field.default.map(Number::Fraction).or(field.neutral);
        match number {
            Some(Number::Fraction(number)) => {
                assert!(default.contains(&number.to_string()), "{row}{default}");
            }
            _ => assert!(!default.trim().is_empty(), "{row}{default}"),
        }
        assert_eq!(default.contains("model's"), field.recommended_as.is_some(), "{row}{default}");
    }
}
