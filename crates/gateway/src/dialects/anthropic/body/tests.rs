use protocol::{Constraint, Message, Part, Role, ToolCall, ToolChoice};

use super::*;

fn read(edit: Value) -> Result<MessagesRequest, Vec<String>> {
    let mut body = json!({"max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in edit.as_object().unwrap() {
        body[name] = value.clone();
    }
    let options = Options::new(vec![], ModelId::new("demo"));
    MessagesRequest::read(&body, ModelId::new("demo"), &options).map_err(|problems| {
        let text = |problem: FieldError| {
            format!("{}: {}", problem.param().unwrap_or_default(), problem.message)
        };
        problems.into_iter().map(text).collect()
    })
}

fn order(edit: Value) -> Order {
    read(edit).unwrap().order
}

fn messages(edit: Value) -> Vec<Message> {
    match order(edit).prompt {
        Prompt::Chat(messages) => messages,
        other => panic!("{other:?}"),
    }
}

#[test]
fn system_texts_come_first_without_the_billing_header() {
    let billing = json!({"type": "text", "text": "x-anthropic-billing-header: cc_version=1"});
    let cached = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
    let chat = json!([
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": [{"type": "text", "text": "c"}]},
    ]);
    let system = json!([billing, cached, {"type": "text", "text": "b"}]);
    assert_eq!(
        messages(json!({"system": system, "messages": chat})),
        [Message::new(Role::System, "a\n\nb\n\nc"), Message::user("Hi")]
    );
    assert_eq!(messages(json!({"system": [billing]})), [Message::user("Hi")]);
    assert_eq!(messages(json!({"system": "s"}))[0], Message::new(Role::System, "s"));
}

#[test]
fn blocks_become_parts() {
    let chat = json!([
        {"role": "user", "content": [
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm", "signature": ""},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Wait"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [
                {"type": "text", "text": "7"}, {"type": "text", "text": "8"},
            ]},
            {"type": "tool_result", "tool_use_id": "call_2", "content": "no", "is_error": true},
            {"type": "tool_result", "tool_use_id": "call_3"},
            {"type": "text", "text": "So?"},
        ]},
    ]);
    let arguments = json!({"x": 1});
    let call = ToolCall::Function { id: "call_1".into(), name: "f".into(), arguments };
    let result = |id: &str, text: &str| Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult { call_id: Some(id.into()), text: text.into() }],
        name: None,
    };
    let answer = Message {
        role: Role::Assistant,
        parts: vec![
            Part::Reasoning { text: "Hm".into() },
            Part::Text { text: "Wait".into() },
            Part::ToolCall { call },
        ],
        name: None,
    };
    let expected = [
        Message::user("a\nb"),
        answer,
        result("call_1", "7\n8"),
        result("call_2", "Error: no"),
        result("call_3", ""),
        Message::user("So?"),
    ];
    assert_eq!(messages(json!({"messages": chat})), expected);
    let empty = json!([{"role": "user", "content": []}]);
    assert_eq!(messages(json!({"messages": empty})), [Message::user("")]);
}

#[test]
fn tools_and_their_choice_are_read() {
    let own = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}});
    let server = json!({"type": "web_search_20250305", "name": "web_search"});
    let tools = json!([own, server]);
    for (choice, expected, max_calls) in [
        (json!(null), ToolChoice::Auto, usize::MAX),
        (json!({"type": "auto", "disable_parallel_tool_use": true}), ToolChoice::Auto, 1),
        (json!({"type": "any"}), ToolChoice::Required, usize::MAX),
        (json!({"type": "tool", "name": "f"}), ToolChoice::Function("f".into()), usize::MAX),
    ] {
        let asked = read(json!({"tools": tools, "tool_choice": choice})).unwrap();
        let form = asked.order.form;
        assert_eq!((form.tool_choice, asked.reply.max_calls), (expected, max_calls), "{choice}");
        assert_eq!(form.tools.len(), 1, "tools of Anthropic's servers are skipped");
        assert_eq!(form.tools[0].parameters, Some(json!({"type": "object"})));
    }
    let form = order(json!({"tools": tools, "tool_choice": {"type": "none"}})).form;
    assert_eq!((form.tools, form.tool_choice), (vec![], ToolChoice::None));
}

#[test]
fn thinking_is_off_unless_requested() {
    let thinks = |edit| order(edit).form.enable_thinking;
    assert_eq!(thinks(json!({})), Some(false));
    assert_eq!(thinks(json!({"output_config": {"effort": "max"}})), Some(false));
    assert_eq!(thinks(json!({"thinking": {"type": "disabled"}})), Some(false));
    let enabled = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    assert_eq!(thinks(enabled), Some(true));
    let adaptive = json!({"type": "adaptive"});
    assert_eq!(thinks(json!({"thinking": adaptive})), None);
    let low = json!({"thinking": adaptive, "output_config": {"effort": "low"}});
    assert_eq!(thinks(low), Some(false));
}

#[test]
fn other_fields_are_read() {
    let order = order(json!({
        "max_tokens": 64_000, "stop_sequences": ["x"], "temperature": 1, "top_p": 0.5, "top_k": 3,
        "metadata": {"user_id": "u"}, "context_management": {"edits": []}, "mcp_servers": [],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }));
    assert_eq!(order.max_tokens, 2048, "lowered to the limit");
    assert_eq!((order.stop, order.user_id), (vec!["x".to_owned()], Some("u".to_owned())));
    let sampling = &order.sampling;
    assert_eq!((sampling.temperature, sampling.top_p), (Some(1.0), Some(0.5)));
    assert_eq!(sampling.top_k, Some(3));
    assert_eq!(order.form.constraint, Some(Constraint::JsonSchema(json!({"type": "object"}))));
}

#[test]
fn problems_name_their_place() {
    let user = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let result =
        |block: Value| user(json!({"type": "tool_result", "tool_use_id": "c", "content": [block]}));
    for (edit, expected) in [
        (json!({"max_tokens": null}), "max_tokens: "),
        (json!({"max_tokens": 0}), "max_tokens: "),
        (json!({"temperature": 1.5}), "temperature: must be from 0 to 1, got 1.5"),
        (json!({"messages": []}), "messages: "),
        (json!({"messages": [{"role": "tool", "content": ""}]}), "messages.0.role: "),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content: "),
        (user(json!({"type": "image"})), "messages.0.content.0.source: expected {"),
        (user(json!({"type": "document"})), "messages.0.content.0: the model 'demo' takes no doc"),
        (user(json!({"type": "text"})), "messages.0.content.0.text: "),
        (user(json!({"type": "thinking", "thinking": ""})), "messages.0.content.0.type: "),
        (result(json!({"type": "image"})), "messages.0.content.0.content.0.source: expected {"),
        (json!({"system": [{"type": "image"}]}), "system.0.source: expected {"),
        (json!({"tools": [{"name": "f"}]}), "tools.0: "),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice: "),
        (json!({"tool_choice": "auto"}), "tool_choice: "),
        (json!({"thinking": {"type": "on"}}), "thinking: "),
        (json!({"output_config": {"effort": "all"}}), "output_config.effort: "),
        (json!({"mcp_servers": [{"url": "x"}]}), "mcp_servers: "),
        (json!({"container": "c"}), "container: "),
    ] {
        let problems = read(edit.clone()).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{edit}: {problems:?}");
    }
}

#[test]
fn a_last_message_of_the_assistant_is_continued() {
    let chat = |last: Value| json!({"messages": [{"role": "user", "content": "Hi"}, last]});
    let begun = json!({"role": "assistant", "content": "One, "});
    let expected = vec![Message::user("Hi"), Message::new(Role::Assistant, "One, ")];
    assert_eq!(order(chat(begun.clone())).prompt, Prompt::Continued(expected.clone()));
    // Unless it has calls, or another message follows.
    let call = json!([{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]);
    let called = order(chat(json!({"role": "assistant", "content": call}))).prompt;
    assert!(matches!(called, Prompt::Chat(_)), "{called:?}");
    let system = json!({"role": "system", "content": "s"});
    let followed = order(json!({"messages": [begun, system]})).prompt;
    assert!(matches!(followed, Prompt::Chat(_)), "{followed:?}");

    let with = |last: &Value, name: &str, value: Value| {
        let mut edit = chat(last.clone());
        edit[name] = value;
        read(edit)
    };
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let problems = with(&begun, "thinking", thinking.clone()).unwrap_err();
    assert!(problems[0].starts_with("thinking: can't be enabled"), "{problems:?}");
    let thought = json!({"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm", "signature": ""}, {"type": "text", "text": "One, "},
    ]});
    assert!(matches!(
        with(&thought, "thinking", thinking).unwrap().order.prompt,
        Prompt::Continued(_)
    ));
    let format = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    let problems = with(&begun, "output_config", format).unwrap_err();
    assert!(problems[0].starts_with("output_config: "), "{problems:?}");
}
