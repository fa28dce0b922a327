//! Compares Jinja templates with Jinja2 in the configuration of transformers.

use engine::text::{ChatError, ChatOptions, ChatTemplate, TemplateValue};

use crate::{entries, items, json, text, tiny};

fn render(template: &str, context: Vec<(String, TemplateValue)>) -> Result<String, ChatError> {
    let template = ChatTemplate::new(template, &tiny()).expect(template);
    let tools = context.iter().find(|(name, _)| name == "tools").map(|(_, value)| value.clone());
    let options = ChatOptions { tools, variables: context, ..ChatOptions::default() };
    Ok(template.render::<TemplateValue>(&[], &options)?.text().to_owned())
}

#[test]
fn templates_render_like_jinja2() {
    let mut wrong = Vec::new();
    for case in items(&json("text/jinja.json"), "cases") {
        let name = text(&case, "name");
        let rendered = render(&text(&case, "template"), entries(&case, "context"));
        let error = case.get_attr("error").unwrap();
        let right = match (&rendered, error.as_str()) {
            (Ok(rendered), None) => *rendered == text(&case, "rendered"),
            (Err(ChatError::Refused(message)), Some(expected)) => message == expected,
            (Err(ChatError::Failed(_)), Some(_)) => name != "raise_exception",
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {rendered:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn python_string_methods_and_transformers_tags_render() {
    let cases = [
        (
            "{{ 'a.txt'.removesuffix('.txt') }}{{ 'xyz'.removeprefix('x') }}{{ 'a'.removeprefix('b') }}",
            "ayza",
        ),
        ("a{% generation %}\nb{% endgeneration %}\nc", "abc"),
        ("{{ {'b': [1, 2], 'a': none} | string }}", "{'b': [1, 2], 'a': None}"),
        ("{{ 'x' if strftime_now('%Y') | int > 2020 else 'y' }}", "x"),
        (
            "{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true, separators=(',', ':')) }}",
            r#"{"a":"é","b":1}"#,
        ),
        ("{{ [bos_token, eos_token] | join(' ') }}", "<|endoftext|> <|im_end|>"),
        (
            "{{ enable_thinking is defined }} {{ tools is none }} {{ add_generation_prompt }}",
            "False True True",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template, Vec::new()).unwrap(), expected, "{template}");
    }
}

#[test]
fn endless_templates_are_aborted() {
    let loops = "{% for a in range(99999) %}".repeat(3) + &"{% endfor %}".repeat(3);
    let error = render(&loops, Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the model's chat template failed: it runs too long");
    let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(matches!(render(recursion, Vec::new()), Err(ChatError::Failed(_))));
}

#[test]
fn errors_name_the_problem_and_the_line() {
    let error = ChatTemplate::new("line one\n{% if %}", &tiny()).unwrap_err();
    assert!(error.contains("line 2"), "{error}");
    let error = render("\n\n{{ 'a' | no_such_filter }}", Vec::new()).unwrap_err().to_string();
    assert!(error.contains("no_such_filter") && error.contains("line 3"), "{error}");
}
