use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;

const ALL: AnswerFormat = AnswerFormat { reasoning: true, begins_in_reasoning: false, tools: true };

/// Returns the events of an answer in these pieces, with adjacent ones of a kind joined.
fn events<'a>(format: AnswerFormat, pieces: impl IntoIterator<Item = &'a str>) -> Vec<Part> {
    parsed(AnswerParser::new(format), pieces)
}

fn parsed(
    mut parser: AnswerParser,
    pieces: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<Part> {
    let mut told: Vec<Part> =
        pieces.into_iter().flat_map(|piece| parser.push(piece.as_ref())).collect();
    told.extend(parser.finish());
    let mut joined: Vec<Part> = Vec::new();
    for event in told {
        match (joined.last_mut(), event) {
            (Some(Part::Text { text }), Part::Text { text: more })
            | (Some(Part::Reasoning { text }), Part::Reasoning { text: more }) => {
                text.push_str(&more);
            }
            (_, event) => joined.push(event),
        }
    }
    joined
}

fn whole(format: AnswerFormat, text: &str) -> Vec<Part> {
    events(format, [text])
}

fn content(text: &str) -> Part {
    Part::Text { text: text.to_owned() }
}

fn reasoning(text: &str) -> Part {
    Part::Reasoning { text: text.to_owned() }
}

fn call(name: &str, arguments: Value) -> Part {
    let id = String::new();
    Part::ToolCall { call: ToolCall::Function { id, name: name.to_owned(), arguments } }
}

#[test]
fn reasoning_text_and_tool_calls_are_split() {
    let text = "<think>\nHm, 1 < 2.\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"f\", \
                \"arguments\": {\"a\": [1]}}\n</tool_call>\n<tool_call>{\"name\":\"g\"}</tool_call>";
    let expected = [
        reasoning("Hm, 1 < 2."),
        content("I look."),
        call("f", json!({"a": [1]})),
        call("g", json!({})),
    ];
    assert_eq!(whole(ALL, text), expected);
}

#[test]
fn an_answer_without_tags_is_returned_unchanged() {
    for text in ["", " ", "a", "  a <b> \n\n c\n", "<", "<tool", "x</think>y", "1<2<<3"] {
        let expected = if text.is_empty() { vec![] } else { vec![content(text)] };
        assert_eq!(whole(ALL, text), expected, "{text:?}");
    }
    let tagged = "<think>a</think><tool_call>{}</tool_call>";
    assert_eq!(whole(AnswerFormat::default(), tagged), [content(tagged)]);
    // Reasoning comes first or not at all.
    let text = "In HTML: <think>a</think>";
    assert_eq!(whole(ALL, text), [content(text)]);
}

#[test]
fn an_answer_can_begin_and_end_inside_reasoning() {
    let format = AnswerFormat { begins_in_reasoning: true, ..ALL };
    assert_eq!(whole(format, "\nhm\n</think>\n\nyes"), [reasoning("hm"), content("yes")]);
    assert_eq!(whole(format, "hm <tool_call> no"), [reasoning("hm <tool_call> no")]);
    assert_eq!(whole(ALL, "<think>\n\n</think>\n\nyes"), [content("yes")]);
}

#[test]
fn malformed_tool_calls_are_returned_with_the_error() {
    for (raw, problem) in [
        ("{\"name\": \"f\", \"arguments\": {\"a\": 1}", "JSON"),
        ("[1]", "object"),
        ("{\"arguments\": {}}", "name"),
        ("{\"name\": 1}", "name"),
        ("{\"name\": \"f\", \"arguments\": \"x\"}", "arguments"),
        ("", "JSON"),
    ] {
        for text in [format!("<tool_call>\n{raw}\n</tool_call>"), format!("<tool_call>{raw}")] {
            match whole(ALL, &text).as_slice() {
                [Part::ToolCall { call: ToolCall::Malformed { raw: told, error } }] => {
                    assert_eq!(told, raw);
                    assert!(error.contains(problem), "{error}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
    // A complete call without a closing tag is valid.
    assert_eq!(whole(ALL, "<tool_call>{\"name\":\"f\"}"), [call("f", json!({}))]);
}

#[test]
fn a_closing_tag_inside_a_json_string_does_not_end_the_call() {
    for (raw, argument) in [
        (r#"{"name": "f", "arguments": {"a": "x</tool_call>y"}}"#, "x</tool_call>y"),
        (r#"{"name": "f", "arguments": {"a": "\"</tool_call>"}}"#, "\"</tool_call>"),
        (r#"{"name": "f", "arguments": {"a": "</tool_call>\\"}}"#, "</tool_call>\\"),
        (
            r#"{"name": "f", "arguments": {"a": "</tool_call></tool_call>"}}"#,
            "</tool_call></tool_call>",
        ),
        (
            r#"{"name": "f", "arguments": {"a": "<tool_call>{}</tool_call>"}}"#,
            "<tool_call>{}</tool_call>",
        ),
    ] {
        let expected = [call("f", json!({"a": argument})), content("so")];
        assert_eq!(whole(ALL, &format!("<tool_call>{raw}</tool_call>so")), expected, "{raw}");
        // A complete call without a closing tag is valid.
        assert_eq!(whole(ALL, &format!("<tool_call>{raw}")), expected[..1], "{raw}");
    }
}

#[test]
fn an_unclosed_quote_does_not_swallow_text_after_its_call() {
    for raw in [
        r#"{"name": "f}"#,
        r#"{"name": "f, "arguments": {}}"#,
        r#"{"name": "f", "arguments": {"a": "1}}"#,
    ] {
        let text =
            format!("<tool_call>{raw}</tool_call> so <tool_call>{{\"name\": \"g\"}}</tool_call>");
        match whole(ALL, &text).as_slice() {
            [Part::ToolCall { call: ToolCall::Malformed { raw: told, error } }, text, next] => {
                assert_eq!((told.as_str(), text), (raw, &content("so")));
                assert!(error.contains("JSON"), "{error}");
                assert_eq!(*next, call("g", json!({})));
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // Text that is not JSON has no strings.
    let expected = Part::ToolCall {
        call: ToolCall::Malformed {
            raw: "it's \"so".to_owned(),
            error: "a call must be JSON: expected value at line 1 column 1".to_owned(),
        },
    };
    assert_eq!(whole(ALL, "<tool_call>it's \"so</tool_call>x"), [expected, content("x")]);
}

#[test]
fn nearly_valid_tool_calls_are_repaired() {
    let arguments = json!({"code": "a\n\tb", "n": 1});
    for raw in [
        "{\"name\": \"f\", \"arguments\": {\"code\": \"a\n\tb\", \"n\": 1}}",
        "{\"name\": \"f\", \"parameters\": {\"code\": \"a\\n\\tb\", \"n\": 1}}",
        "{\"name\": \"f\", \"arguments\": \"{\\\"code\\\": \\\"a\\\\n\\\\tb\\\", \\\"n\\\": 1}\"}",
        "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"code\": \"a\\n\\tb\", \"n\": 1}}}",
        "{\"id\": \"call_1\", \"name\": \"f\",\n \"arguments\": {\"code\": \"a\n\\tb\",\n \"n\": 1}}",
    ] {
        let told = whole(ALL, &format!("<tool_call>\n{raw}\n</tool_call>"));
        assert_eq!(told, [call("f", arguments.clone())], "{raw}");
    }
}

#[test]
fn tool_calls_whose_repair_would_lose_arguments_are_malformed() {
    for (raw, problem) in [
        (r#"{"name": "f", "args": {"a": 1}}"#, "args"),
        (r#"{"name": "f", "arguments": {"a": 1}, "parameters": {"a": 2}}"#, "not both"),
        (r#"{"name": "f", "arguments": [1]}"#, "object"),
        (r#"{"name": "f", "parameters": "x"}"#, "object"),
        (r#"{"name": "f", "arguments": {}} {"name": "g", "arguments": {}}"#, "JSON"),
        (r#"{'name': 'f'}"#, "JSON"),
    ] {
        match whole(ALL, &format!("<tool_call>{raw}</tool_call>")).as_slice() {
            [Part::ToolCall { call: ToolCall::Malformed { raw: told, error } }] => {
                assert_eq!(told, raw);
                assert!(error.contains(problem), "{error}");
            }
            other => panic!("{raw}: {other:?}"),
        }
    }
}

#[test]
fn argument_numbers_keep_every_digit() {
    for number in [
        "9007199254740993",
        "18446744073709551616",
        "1000000000000000000000000000001",
        "-1000000000000000000000000000001",
        "0.1000000000000000055511151231257827",
    ] {
        let raw = format!("{{\"name\": \"f\", \"arguments\": {{\"n\": [{number}]}}}}");
        let told = whole(ALL, &format!("<tool_call>{raw}</tool_call>"));
        let [Part::ToolCall { call: ToolCall::Function { arguments, .. } }] = told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!(arguments.to_string(), format!("{{\"n\":[{number}]}}"));
    }
}

#[test]
fn parsed_parts_do_not_depend_on_chunk_boundaries() {
    let mut random = StdRng::seed_from_u64(11);
    let parts = [
        THINK,
        THINK_END,
        CALL,
        CALL_END,
        "<tool_call>{\"name\":\"f\"}</tool_call>",
        "<",
        "</",
        "think>",
        " ",
        "\n\n",
        "é🦙",
        "text",
        "{\"name\":\"f\",\"arguments\":{}}",
        "{\"name\":",
        "\"",
        "\\",
        "<tool_",
        "call>",
    ];
    let mut kinds = [0_usize; 4];
    for _ in 0..20_000 {
        let text: String = (0..random.random_range(0..10))
            .map(|_| parts[random.random_range(0..parts.len())])
            .collect();
        let format = AnswerFormat {
            reasoning: random.random(),
            begins_in_reasoning: random.random(),
            tools: random.random(),
        };
        let expected = whole(format, &text);
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let cut = rest.char_indices().map(|(at, _)| at).nth(random.random_range(0..6));
            let (piece, more) = rest.split_at(cut.unwrap_or(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        assert_eq!(events(format, pieces.iter().copied()), expected, "{text:?} as {pieces:?}");
        for event in &expected {
            kinds[match event {
                Part::Text { .. } => 0,
                Part::Reasoning { .. } => 1,
                Part::ToolCall { call: ToolCall::Function { .. } } => 2,
                Part::ToolCall { call: ToolCall::Malformed { .. } } => 3,
                other => panic!("{other:?}"),
            }] += 1;
        }
    }
    assert!(kinds.iter().all(|count| *count > 500), "{kinds:?}");
}

/// Returns the events of an answer with functions, cut into pieces of `len` characters.
fn with_tools(tools: &[Tool], text: &str, len: usize) -> Vec<Part> {
    let chars: Vec<char> = text.chars().collect();
    let pieces = chars.chunks(len).map(|piece| piece.iter().collect::<String>());
    parsed(AnswerParser::new(ALL).with_tools(tools), pieces)
}

#[test]
fn calls_in_tags_are_split_beside_json() {
    let tools = [Tool {
        parameters: Some(
            json!({"properties": {"days": {"type": "integer"}, "text": {"type": "string"}}}),
        ),
        ..Tool::named("plan")
    }];
    let text = "<think>\nHm.\n</think>\n\nI look.\n\n<tool_call>\n<function=plan>\n<parameter=days>\n3\n\
                </parameter>\n<parameter=text>\n7 < 8\n\n  ok\n</parameter>\n</function>\n</tool_call>\n\
                <tool_call>\n{\"name\": \"plan\", \"arguments\": {\"days\": 4}}\n</tool_call>\n<tool_call>\n\
                <function=other>\n</function>\n</tool_call>";
    let expected = [
        reasoning("Hm."),
        content("I look."),
        call("plan", json!({"days": 3, "text": "7 < 8\n\n  ok"})),
        call("plan", json!({"days": 4})),
        call("other", json!({})),
    ];
    for len in [1, 2, 5, 1_000] {
        assert_eq!(with_tools(&tools, text, len), expected, "pieces of {len}");
    }
}

#[test]
fn tags_inside_values_are_text() {
    let text = "<tool_call>\n<function=write>\n<parameter=text>\nSay <tool_call> and </tool_call>.\n</parameter>\n\
                </function>\n</tool_call>Done";
    let expected =
        [call("write", json!({"text": "Say <tool_call> and </tool_call>."})), content("Done")];
    for len in [1, 3, 1_000] {
        assert_eq!(with_tools(&[], text, len), expected, "pieces of {len}");
    }
    // A parameter that does not end: the call ends at its first closing tag, and what follows is read again.
    let text = "<tool_call>\n<function=f>\n<parameter=a>\nx\n</tool_call>\n<tool_call>\n<function=g>\n\
                </function>\n</tool_call>";
    for len in [1, 4, 1_000] {
        let [Part::ToolCall { call: ToolCall::Malformed { raw, error } }, second] =
            &with_tools(&[], text, len)[..]
        else {
            panic!("{:?}", with_tools(&[], text, len));
        };
        assert_eq!(*second, call("g", json!({})));
        assert!(raw.ends_with("\nx") && error.contains("</parameter>"), "{raw}: {error}");
    }
    // A call that is cut off is never taken for a whole one.
    let [Part::ToolCall { call: ToolCall::Malformed { .. } }] =
        &with_tools(&[], "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>", 7)[..]
    else {
        panic!("a call that is cut off");
    };
}
