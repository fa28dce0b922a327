//! Random JSON schemas of every kind, the impossible and the unsupported among them.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

const NAMES: [&str; 14] = [
    "name",
    "age",
    "state",
    "tags",
    "größe",
    "a b",
    "x",
    "quote\"d",
    "a/b",
    "m~n",
    "x1",
    "id_2",
    "",
    "tab\there",
];
const WORDS: [&str; 10] =
    ["queued", "done", "a longer phrase", "ä€🦙", "\"", "tab\there", "", "x1", "2024-02-29", "1e5"];
const PATTERNS: [&str; 22] = [
    "^[a-z]{2,5}(-[0-9]{1,3})?$",
    "^x",
    "x$",
    "[0-9]",
    "^\\d+$",
    "^(a|b)*c$",
    "^\\w+ \\w+$",
    "^.{2,4}$",
    "é",
    "^[^aeiou]{3}$",
    "^$",
    "^(?:ab?c|de+){1,3}$",
    "^\\s?[A-Z]",
    "a|^b$",
    "^[\\w.]+@[\\w]+\\.com$",
    "\\S",
    "^(\"|\\\\)+$",
    "^\\u0061[\\-]b$",
    "^[^\\s\\S]$",
    "(?=a)b",
    "^a\\b",
    "^(a{1,4}b{1,4}){1,3}$",
];
const KEY_PATTERNS: [&str; 9] =
    ["^x", "[0-9]$", "^[a-z]+$", "_", "^a", ".", "^(name|age)$", "^x\\d?$", "ö"];
const FORMATS: [&str; 16] = [
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
    "password",
    "binary",
    "uri-reference",
    "int64",
    "regex",
    "poem",
];

/// The schema of a seed: always the same.
pub(crate) fn random(seed: u64) -> Value {
    let mut one = Generator { random: StdRng::seed_from_u64(seed), definitions: Vec::new() };
    if one.chance(0.5) {
        let names = ["node", "a/b", "m~n", "a b", "c%d", "größe"];
        let count = one.below(3) + 1;
        one.definitions =
            names.choose_multiple(&mut one.random, count).map(|name| (*name).to_owned()).collect();
    }
    let depth = one.below(4) + 1;
    let mut schema = one.schema(depth);
    if !schema.is_object() {
        schema = json!({"allOf": [schema]});
    }
    let mut definitions = Map::new();
    for name in one.definitions.clone() {
        let definition = if one.chance(0.3) { one.tree(&name) } else { one.schema(2) };
        definitions.insert(name, definition);
    }
    if !definitions.is_empty() {
        schema["$defs"] = definitions.into();
    }
    if one.chance(0.05) {
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    }
    schema
}

/// As a JSON pointer in a URI's fragment.
fn reference_to(name: &str) -> Value {
    let name = name.replace('~', "~0").replace('/', "~1").replace('%', "%25").replace(' ', "%20");
    let name = name.replace('ö', "%C3%B6").replace('ß', "%C3%9F");
    json!({"$ref": format!("#/$defs/{name}")})
}

struct Generator {
    random: StdRng,
    definitions: Vec<String>,
}

impl Generator {
    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn below(&mut self, most: usize) -> usize {
        self.random.random_range(0..most)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn schema(&mut self, depth: usize) -> Value {
        let mut schema = match self.below(if depth == 0 { 9 } else { 18 }) {
            0 | 1 => self.string(),
            2 => self.number("integer"),
            3 => self.number("number"),
            4 => json!({"type": self.pick(&["boolean", "null"])}),
            5 => {
                let count = self.below(4) + 1;
                let values: Vec<Value> = (0..count).map(|_| self.value(2)).collect();
                json!({ "enum": values })
            }
            6 => json!({"const": self.value(2)}),
            7 => self.reference(),
            8 => match self.below(12) {
                0 => json!(false),
                1 => json!(true),
                2 => self.unsupported(),
                3 => json!({}),
                _ => json!({"type": ["null", "integer", "string"], "maxLength": 5, "minimum": 3}),
            },
            9 | 10 => self.array(depth - 1),
            11 => {
                let count = self.below(3) + 1;
                json!({"anyOf": (0..count).map(|_| self.schema(depth - 1)).collect::<Vec<_>>()})
            }
            12 => self.one_of(depth - 1),
            13 => {
                let count = self.below(2) + 1;
                json!({"allOf": (0..count).map(|_| self.schema(depth - 1)).collect::<Vec<_>>()})
            }
            _ => self.object(depth - 1),
        };
        if let Some(map) = schema.as_object_mut() {
            if self.chance(0.08) {
                let sibling = self.schema(depth.saturating_sub(1));
                map.extend(
                    sibling.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())),
                );
            }
            if self.chance(0.05) {
                map.shift_remove("type");
            }
            if self.chance(0.1) {
                map.insert("description".into(), "a note".into());
            }
        }
        schema
    }

    fn reference(&mut self) -> Value {
        let Some(name) = self.definitions.choose(&mut self.random).cloned() else {
            return if self.chance(0.1) {
                json!({"$ref": "#/$defs/gone"})
            } else {
                json!({"type": "boolean"})
            };
        };
        reference_to(&name)
    }

    /// Something that has itself within it.
    fn tree(&mut self, name: &str) -> Value {
        let itself = reference_to(name);
        match self.below(5) {
            0 => json!({"type": "array", "items": itself, "maxItems": 2}),
            1 => json!({"anyOf": [{"type": "null"}, {
                "type": "object", "properties": {"next": itself}, "required": ["next"], "additionalProperties": false,
            }]}),
            2 => json!({
                "type": "object", "properties": {"value": self.schema(0), "left": itself, "right": itself},
                "required": ["value"], "additionalProperties": false,
            }),
            3 => json!({"type": "object", "properties": {"next": itself}, "required": ["next"]}),
            _ => json!({"anyOf": [itself, {"type": "null"}]}),
        }
    }

    fn string(&mut self) -> Value {
        let mut schema = json!({"type": "string"});
        if self.chance(0.35) {
            schema["pattern"] = self.pick(&PATTERNS).into();
        }
        if self.chance(0.25) {
            schema["format"] = self.pick(&FORMATS).into();
        }
        if self.chance(0.4) {
            let least = self.below(6);
            schema["minLength"] = least.into();
            let most = self.below(20);
            schema["maxLength"] = if self.chance(0.05) { most } else { least + most }.into();
        } else if self.chance(0.1) {
            schema["maxLength"] = self.pick(&[200, 2_000, 100_000]).into();
        }
        schema
    }

    /// A number as it may be written, up to 10^30.
    fn any_number(&mut self) -> Value {
        let text = match self.below(9) {
            0 => self.random.random_range(-9..100).to_string(),
            1 => self.random.random_range(-100_000..100_000).to_string(),
            2 => (9_007_199_254_740_990_i64 + self.random.random_range(0..9)).to_string(),
            3 => format!("-{}", u64::MAX - self.random.random_range(0..9)),
            4 => format!("184467440737095516{}", self.below(90) + 10),
            5 => format!("{}{:030}", self.below(9) + 1, self.random.random::<u64>()),
            6 => format!("{}.{}", self.random.random_range(-50..50), self.below(1_000)),
            7 => format!("0.{:025}1", self.below(1_000_000)),
            _ => format!(
                "{}e{}",
                self.random.random_range(-9..10),
                self.random.random_range(-10..31)
            ),
        };
        serde_json::from_str(&text).unwrap()
    }

    fn number(&mut self, kind: &str) -> Value {
        let mut schema = json!({ "type": kind });
        let near = |generator: &mut Self, low: &Value| -> Value {
            // Somewhat above another number, for ranges that are not empty.
            let text = low.to_string();
            let more = generator.below(9) + 1;
            let digits = text.trim_start_matches('-');
            let text = if text.starts_with('-') || digits.contains(['e', '.']) {
                more.to_string()
            } else {
                format!("{more}{digits}")
            };
            serde_json::from_str(&text).unwrap()
        };
        if self.chance(0.6) {
            let low = self.any_number();
            let high = if self.chance(0.85) { near(self, &low) } else { self.any_number() };
            let names =
                self.pick(&[("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]);
            if self.chance(0.9) {
                schema[names.0] = low;
            }
            if self.chance(0.9) {
                schema[names.1] = high;
            }
        }
        if self.chance(0.25) {
            let multiple = [
                "1",
                "2",
                "3",
                "7",
                "10",
                "300",
                "0.25",
                "0.01",
                "1e-7",
                "1e20",
                "12345.678",
                "17e5",
            ];
            let multiple = self.pick(&multiple);
            schema["multipleOf"] = serde_json::from_str(multiple).unwrap();
        }
        schema
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.chance(0.5)),
            2 | 3 => self.any_number(),
            4 | 5 => self.pick(&WORDS).into(),
            6 => {
                let count = self.below(3);
                (0..count).map(|_| self.value(depth - 1)).collect()
            }
            _ => {
                let count = self.below(3);
                let mut map = Map::new();
                for _ in 0..count {
                    map.insert(self.pick(&NAMES).to_owned(), self.value(depth - 1));
                }
                map.into()
            }
        }
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut schema = json!({"type": "array"});
        if self.chance(0.8) {
            schema["items"] = self.schema(depth);
        }
        if self.chance(0.25) {
            let count = self.below(3) + 1;
            schema["prefixItems"] = (0..count).map(|_| self.schema(depth)).collect();
        }
        if self.chance(0.5) {
            schema["minItems"] = self.below(4).into();
        }
        if self.chance(0.6) {
            schema["maxItems"] = self.pick(&[0, 1, 2, 3, 4, 5, 6, 17, 40]).into();
        }
        schema
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut schema = json!({"type": "object"});
        let mut properties = Map::new();
        let count = if self.chance(0.06) { self.below(60) } else { self.below(6) };
        for index in 0..count {
            let name = match count {
                0..8 => self.pick(&NAMES).to_owned(),
                _ => format!("p{index}"),
            };
            let property = if count < 8 { self.schema(depth) } else { self.schema(0) };
            properties.insert(name, property);
        }
        let mut required: Vec<String> = properties.keys().cloned().collect();
        let share = self.pick(&[0.0, 0.3, 0.9]);
        required.retain(|_| self.random.random_bool(share));
        if self.chance(0.05) {
            required.push(self.pick(&NAMES).to_owned());
            required.dedup();
        }
        let count = properties.len();
        schema["properties"] = properties.into();
        if !required.is_empty() {
            required.sort();
            required.dedup();
            schema["required"] = required.into();
        }
        match self.below(6) {
            0 => {}
            1 => schema["additionalProperties"] = self.schema(depth.min(1)),
            _ => schema["additionalProperties"] = false.into(),
        }
        if self.chance(0.2) {
            let mut patterns = Map::new();
            for _ in 0..self.below(3) + 1 {
                let schema = self.schema(depth.min(1));
                patterns.insert(self.pick(&KEY_PATTERNS).to_owned(), schema);
            }
            schema["patternProperties"] = patterns.into();
        }
        if self.chance(0.2) {
            schema["minProperties"] = self.below(count + 2).into();
        }
        if self.chance(0.2) {
            schema["maxProperties"] = self.below(count + 2).into();
        }
        schema
    }

    fn one_of(&mut self, depth: usize) -> Value {
        if self.chance(0.3) {
            return json!({"oneOf": [self.schema(depth), self.schema(depth)]});
        }
        let options = ["circle", "square", "line"].iter().take(self.below(2) + 2);
        let option = |kind: &&str, generator: &mut Self| {
            json!({
                "type": "object", "properties": {"kind": {"const": kind}, "value": generator.schema(depth)},
                "required": ["kind"], "additionalProperties": false,
            })
        };
        json!({"oneOf": options.map(|kind| option(kind, self)).collect::<Vec<_>>()})
    }

    fn unsupported(&mut self) -> Value {
        match self.below(4) {
            0 => json!({"not": {"type": "null"}}),
            1 => json!({"type": "array", "uniqueItems": true}),
            2 => json!({"if": {"type": "null"}, "then": false}),
            _ => json!({"type": "object", "propertyNames": {"maxLength": 3}}),
        }
    }
}
