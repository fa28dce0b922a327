//! Damaged answers: each is read without a panic and at once, and its marks are on the image.

use std::time::Duration;

use protocol::SkillOutput;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::{LIMIT, best_of, check, timed};
use crate::samples;
use crate::seeds::seeds;

/// What is inserted into answers: the parsers' own signs.
const PIECES: [&str; 44] = [
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "\n",
    "```",
    "```json\n",
    "<",
    ">",
    "</",
    "<!--",
    "-->",
    "<p data-bbox=\"1 2 3 4\">",
    "<script>",
    "</script>",
    "&",
    "&#x41;",
    "\\u",
    "\\ud83d",
    "//",
    "/*",
    "#",
    "None",
    "1e999",
    "-0.",
    "99999999999999999999",
    "<tool_call>",
    "</tool_call>",
    "<function=",
    "<parameter=",
    "<think>",
    "</think>",
    "<|box_start|>",
    "(1,2),",
    "00:01.5 - ",
    "é",
    "\u{202e}😀",
];

/// Changes some characters of a text.
fn mutate(text: &str, random: &mut StdRng) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=characters.len());
        let end = (at + random.random_range(1..40)).min(characters.len());
        match random.random_range(0..6) {
            0 => characters.truncate(at),
            1 => drop(characters.drain(at..end)),
            2 => {
                let piece = characters[at..end].to_vec();
                let to = random.random_range(0..=characters.len());
                characters.splice(to..to, piece);
            }
            3 if at < characters.len() => {
                characters[at] = char::from(random.random_range(b' '..=b'~'));
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                characters.splice(at..at, piece.chars());
            }
        }
    }
    characters.into_iter().collect()
}

fn damage(output: SkillOutput) {
    let samples = samples::of(output);
    let (mut read, mut refused, mut longest) = (0, 0, Duration::ZERO);
    for seed in seeds() {
        let mut random = StdRng::seed_from_u64(seed);
        let sample = &samples[random.random_range(0..samples.len())];
        let text = mutate(&sample.text, &mut random);
        let (reading, mut took) = timed(|| sample.read(output, &text));
        if took > LIMIT / 2 {
            took = best_of(3, || sample.read(output, &text));
        }
        assert!(took < LIMIT, "seed {seed} takes {took:?}: {text}");
        longest = longest.max(took);
        check(&reading, sample.picture(), &text);
        *(if reading.structured.is_some() { &mut read } else { &mut refused }) += 1;
    }
    println!("{}: {read} read, {refused} refused, at most {longest:?}", output.as_str());
    assert!(read > 0);
}

#[test]
fn damaged_boxes() {
    damage(SkillOutput::Boxes);
}

#[test]
fn damaged_points() {
    damage(SkillOutput::Points);
}

#[test]
fn damaged_html() {
    damage(SkillOutput::Html);
}

#[test]
fn damaged_markdown() {
    damage(SkillOutput::Markdown);
}

#[test]
fn damaged_events() {
    damage(SkillOutput::Events);
}

#[test]
fn damaged_actions() {
    damage(SkillOutput::Actions);
}

#[test]
fn damaged_json() {
    damage(SkillOutput::Json);
}
