//! Random JSON schemas: nested, with enums, unions, bounds and references.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

const NAMES: [&str; 8] = ["name", "age", "state", "tags", "größe", "a b", "x", "quote\"d"];
const WORDS: [&str; 7] = ["queued", "done", "a longer phrase", "ä€🦙", "\"", "tab\there", ""];

/// The schema of a seed: always the same, and such that every answer to it ends.
pub(crate) fn random(seed: u64) -> Value {
    let mut random = StdRng::seed_from_u64(seed);
    let mut schema = any(&mut random, 3);
    if random.random_bool(0.3) {
        let part = any(&mut random, 1);
        schema = json!({
            "$defs": {"part": part},
            "type": "object",
            "properties": {"first": {"$ref": "#/$defs/part"}, "rest": schema},
            "required": ["first", "rest"],
            "additionalProperties": false,
        });
    }
    schema
}

fn any(random: &mut StdRng, depth: usize) -> Value {
    let kinds = if depth == 0 { 7 } else { 11 };
    match random.random_range(0..kinds) {
        0 => string(random),
        1 => integer(random),
        2 => number(random),
        3 => json!({"type": "boolean"}),
        4 => json!({"enum": choices(random)}),
        5 => json!({"const": choices(random)[0]}),
        6 => json!({"type": ["null", "boolean"]}),
        7 => {
            let options = random.random_range(2..=3);
            let options: Vec<Value> = (0..options).map(|_| any(random, depth - 1)).collect();
            json!({"anyOf": options})
        }
        8 => array(random, depth),
        _ => object(random, depth),
    }
}

fn string(random: &mut StdRng) -> Value {
    match random.random_range(0..4) {
        0 => json!({"type": "string", "pattern": "^[a-z]{2,5}(-[0-9]{1,3})?$"}),
        1 => json!({"type": "string", "format": "date"}),
        _ => {
            let least = random.random_range(0..6);
            let most = least + random.random_range(0..12);
            json!({"type": "string", "minLength": least, "maxLength": most})
        }
    }
}

fn integer(random: &mut StdRng) -> Value {
    let least = random.random_range(-1_000..1_000);
    let most = least + random.random_range(2..5_000);
    match random.random_range(0..3) {
        0 => json!({"type": "integer", "minimum": least, "maximum": most}),
        1 => json!({"type": "integer", "exclusiveMinimum": least, "exclusiveMaximum": most}),
        _ => json!({"type": "integer", "minimum": 0, "maximum": 10_000, "multipleOf": 5}),
    }
}

fn number(random: &mut StdRng) -> Value {
    let least = random.random_range(-50..50);
    let most = least + random.random_range(1..100);
    json!({"type": "number", "minimum": least, "maximum": most, "multipleOf": 0.25})
}

fn choices(random: &mut StdRng) -> Vec<Value> {
    let one = |random: &mut StdRng| match random.random_range(0..5) {
        0 => json!(random.random_range(-9..99)),
        1 => json!(null),
        2 => json!({"kind": WORDS[random.random_range(0..WORDS.len())]}),
        _ => json!(WORDS[random.random_range(0..WORDS.len())]),
    };
    (0..random.random_range(1..=4)).map(|_| one(random)).collect()
}

fn array(random: &mut StdRng, depth: usize) -> Value {
    let least = random.random_range(0..3);
    let most = least + random.random_range(0..3);
    json!({"type": "array", "items": any(random, depth - 1), "minItems": least, "maxItems": most})
}

fn object(random: &mut StdRng, depth: usize) -> Value {
    let mut properties = Map::new();
    for _ in 0..random.random_range(1..=4) {
        let name = NAMES[random.random_range(0..NAMES.len())];
        properties.insert(name.to_owned(), any(random, depth - 1));
    }
    let required: Vec<&String> = properties.keys().filter(|_| random.random_bool(0.7)).collect();
    let required = json!(required);
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
