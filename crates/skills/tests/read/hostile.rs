//! Hostile answers: something repeated without an end takes linear time.

use std::time::Duration;

use protocol::{SkillOutput, VisionFamily};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skills::marks::Picture;
use skills::read::Reading;

use crate::check::{LIMIT, best_of, check, read_of, timed};
use crate::samples::OUTPUTS;
use crate::seeds::seeds;

const PICTURE: Picture = Picture { size: (1000, 800), seen: (1008, 812) };

fn read_as(output: SkillOutput, text: &str) -> Reading {
    read_of(output, text, VisionFamily::Qwen2Vl, &[PICTURE])
}

/// Beginnings of hostile answers.
const BEGINNINGS: [&str; 12] = [
    "",
    "",
    "[",
    "{",
    "[\"",
    "{\"a\": \"",
    "```json\n[",
    "```",
    "<p data-bbox=\"1 2 3 4\">",
    "<tool_call>",
    "<function=a>",
    "(",
];
/// What hostile answers repeat.
const REPEATED: [&str; 117] = [
    "[",
    "{",
    "(",
    "]",
    "}",
    "{\"a\":",
    "[1,",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "\\\"",
    "\" ",
    "\", ",
    "\",\"",
    "\"a\": \"",
    "\"a\" \"b",
    "'a'",
    " ",
    "\n",
    "1 ",
    "1,",
    "1.,",
    "a ",
    "a,",
    "a: ",
    "-",
    ".",
    "é",
    "/*",
    "//",
    "//\n",
    "#",
    "\\n",
    "None,",
    "[ ",
    "{ ",
    "[a ",
    "[]",
    "{}",
    "{},",
    "[1,2,3,4],",
    "[1,2],",
    "{\"bbox_2d\": [1,2,3,4]},",
    "{\"bbox_2d\": [1,2,3,4",
    "```",
    "```\n",
    "```json\n",
    "\n```a\n",
    "`",
    "<div>",
    "<div ",
    "<p>",
    "</div>",
    "</p>",
    "<b>",
    "<",
    "</",
    "<!--",
    "<!-- Table (",
    "<!-- Table (1, 2, 3, 4) -->",
    "-->",
    "<p data-bbox=\"1 2 3 4\">",
    "<p data-bbox=\"",
    "<p a=\"",
    "<p a=",
    "<p a=' ",
    "<table><tr><td>",
    "<li>",
    "<script>",
    "</script",
    "<a b c ",
    "&",
    "&#",
    "&amp",
    "<tool_call>",
    "</tool_call>",
    "<tool_call>{",
    "<tool_call>{}",
    "<function=",
    "<function=a>",
    "<parameter=",
    "<parameter=a>",
    "<think>",
    "</think>",
    "<|im_end|>",
    "Thought:\n",
    "<|box_start|>",
    "<|object_ref_start|>",
    "(1,2)",
    "(1,2),",
    "(1,",
    "( ",
    "a(1,2)",
    "0:01 ",
    "0:01 - ",
    "0:01\n",
    "1 - ",
    "5s ",
    "<1 seconds>",
    "1:",
    "from ",
    "<html>",
    "</html>",
    "```html\n",
    "<img data-bbox=\"1 2 3 4\">",
    "<ol data-bbox=\"1\">",
    "<head>",
    "data-bbox=",
    "=",
    "=>",
    "\"a\":1",
    "{a:1",
    "(1 2)",
    "1e9",
    "\u{0}",
];

/// Checks that reading takes linear time: a text of twice the size takes at most three times as long.
/// `text_of` returns the text in its size of 1 or 2, which are 20 and 40 KB.
fn check_hostile(output: SkillOutput, text_of: impl Fn(usize) -> String) -> Duration {
    let (text, twice) = (text_of(1), text_of(2));
    let (reading, took) = timed(|| read_as(output, &text));
    check(&reading, PICTURE, &text);
    drop(reading);
    let (_, took_twice) = timed(|| read_as(output, &twice));
    // Times below this are noise.
    let is_linear =
        |took: Duration, twice: Duration| twice < 3 * took.max(Duration::from_millis(4));
    if took > LIMIT || !is_linear(took, took_twice) {
        let (took, took_twice) =
            (best_of(5, || read_as(output, &text)), best_of(5, || read_as(output, &twice)));
        let begin: String = text.chars().take(60).collect();
        assert!(took < LIMIT, "{begin:?} as {output:?} takes {took:?}");
        assert!(
            is_linear(took, took_twice),
            "{begin:?} as {output:?}: {took:?}, and {took_twice:?} for twice the size"
        );
    }
    took
}

#[test]
fn hostile_answers_take_linear_time() {
    let repeat = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    let mut longest = Duration::ZERO;
    for output in OUTPUTS {
        for (beginning, repeated) in
            [("", "["), ("", "{\"a\":"), ("", "<div>"), ("[", ","), ("[\"", "a"), ("", "\"")]
        {
            let text_of = |size| format!("{beginning}{}", repeat(repeated, size * 20_000));
            longest = longest.max(check_hostile(output, text_of));
        }
        // A long name, and many things that might each take it.
        for (before, between, repeated) in [
            ("{\"", "\": [", "[1,2,3,4],"),
            ("{\"label\": \"", "\", \"bbox_2d\": [", "[1,2,3,4],"),
            ("", "", "(1,2)"),
            ("<p class=\"", "\" data-bbox=\"1 2 3 4\">", "<p>"),
            ("<tool_call>{\"name\": \"", "\"}</tool_call>", "<tool_call>{}"),
        ] {
            let text_of = |size| {
                let name = "n".repeat(size * 10_000);
                format!("{before}{name}{between}{}", repeat(repeated, size * 10_000))
            };
            longest = longest.max(check_hostile(output, text_of));
        }
        let deep = |size| format!("{}{}", "[".repeat(120), repeat("\"a\" ", size * 20_000));
        longest = longest.max(check_hostile(output, deep));
    }
    let mut count = 0;
    for seed in seeds() {
        let mut random = StdRng::seed_from_u64(seed);
        let beginning = BEGINNINGS[random.random_range(0..BEGINNINGS.len())];
        let pieces = random.random_range(1..4);
        let repeated: String =
            (0..pieces).map(|_| REPEATED[random.random_range(0..REPEATED.len())]).collect();
        let output = SkillOutput::ALL[random.random_range(0..SkillOutput::ALL.len())];
        let text_of = |size| format!("{beginning}{}", repeat(&repeated, size * 20_000));
        longest = longest.max(check_hostile(output, text_of));
        count += 1;
    }
    println!("{count} at random, at most {longest:?} for 20 KB");
}

#[test]
fn items_are_bounded() {
    let text = format!("[{}]", r#"{"bbox_2d": [1, 2, 3, 4]},"#.repeat(12_000));
    let reading = read_as(SkillOutput::Boxes, &text);
    assert_eq!(reading.structured.unwrap().as_array().unwrap().len(), 10_000);
    assert_eq!(reading.marks.len(), 10_000);
    assert!(
        reading.warnings.iter().any(|warning| warning.contains("2000 items were left out")),
        "{:?}",
        reading.warnings
    );
    let html = "<p data-bbox=\"1 2 3 4\">a</p>".repeat(12_000);
    assert_eq!(read_as(SkillOutput::Html, &html).marks.len(), 10_000);
    let events = format!("[{}]", r#"{"time": 1},"#.repeat(12_000));
    assert_eq!(
        read_as(SkillOutput::Events, &events).structured.unwrap().as_array().unwrap().len(),
        10_000
    );
    let actions = r#"<tool_call>{"name": "wait", "arguments": {}}</tool_call>"#.repeat(12_000);
    assert_eq!(
        read_as(SkillOutput::Actions, &actions).structured.unwrap().as_array().unwrap().len(),
        10_000
    );
    let many = format!("{{\"bbox_2d\": [{}[1,2,3,4]]}}", "[1,2,3,4],".repeat(12_000));
    assert_eq!(read_as(SkillOutput::Boxes, &many).marks.len(), 10_000);
}

#[test]
fn a_hundred_thousand_commas_are_read_at_once() {
    for text in [
        ",".repeat(100_000),
        format!("[{}", ",".repeat(100_000)),
        format!("[1{}]", ",".repeat(100_000)),
    ] {
        for output in OUTPUTS {
            let (_, took) = timed(|| read_as(output, &text));
            assert!(took < Duration::from_millis(250), "{output:?}: {took:?}");
        }
    }
}
