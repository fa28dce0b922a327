use protocol::{Constraint, Lane, Message, Part, Role, Tool, ToolChoice};

use super::*;

/// The model that the requests name.
const MODEL: &str = "demo";

fn read(fields: Value) -> Result<ChatRequest, Vec<String>> {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]});
    let fields = fields.as_object().unwrap();
    body.as_object_mut().unwrap().extend(fields.clone());
    let options = Options::new(Vec::new(), ModelId::new(MODEL));
    let place = |problem: FieldError| {
        let place = crate::refusal::Refusal::invalid(vec![problem.clone()]).param();
        format!("{} {}", place.unwrap_or_default(), problem.kind)
    };
    ChatRequest::read(&body, ModelId::new(MODEL), &options)
        .map_err(|problems| problems.into_iter().map(place).collect())
}

fn order(fields: Value) -> Order {
    read(fields).map_err(|problems| problems.join(", ")).unwrap().order
}

fn messages(list: Value) -> Vec<Message> {
    match order(json!({ "messages": list })).prompt {
        Prompt::Chat(messages) => messages,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_service() {
    let request = read(json!({})).map_err(|problems| problems.join(", ")).unwrap();
    assert!(!request.stream && !request.include_usage);
    let order = request.order;
    assert_eq!(order.prompt, Prompt::Chat(vec![Message::user("Hi")]));
    assert_eq!((order.n, order.max_tokens, order.stop.len()), (1, 2048, 0));
    assert!(order.sampling.is_empty() && order.form.split);
    assert_eq!(order.queueing.lane, None);
}

#[test]
fn content_has_the_same_forms_in_every_role() {
    for role in ["system", "developer", "user", "assistant", "tool", "function"] {
        for (content, text) in [
            (json!("a"), "a"),
            (json!(""), ""),
            (json!(null), ""),
            (json!([]), ""),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "a\nb"),
            (json!([{"type": "refusal", "refusal": "no"}]), "no"),
            (json!(["a"]), "a"),
        ] {
            let read = messages(json!([{"role": role, "content": content}]));
            assert_eq!(read[0].text(), text, "{role} {content}");
        }
        assert_eq!(messages(json!([{"role": role}]))[0].text(), "", "{role}");
    }
}

#[test]
fn system_and_developer_messages_are_merged_to_the_front() {
    let read = messages(json!([
        {"role": "system", "content": "One."},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "Two."},
    ]));
    let roles: Vec<_> = read.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User]);
    assert_eq!(read[0].text(), "One.\n\nTwo.");
}

#[test]
fn turns_with_calls_keep_reasoning_calls_and_results() {
    let call = json!({"id": "call_1", "type": "function",
                      "function": {"name": "add", "arguments": "{\"a\": 1}"}});
    let read = messages(json!([
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": null, "reasoning": "Hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2", "extra": 1},
    ]));
    let [Part::Reasoning { text }, Part::Text { .. }, Part::ToolCall { call }] = &*read[1].parts
    else {
        panic!("{:?}", read[1])
    };
    assert_eq!(text, "Hm");
    let protocol::ToolCall::Function { id, name, arguments } = call else { panic!("{call:?}") };
    assert_eq!((&**id, &**name, arguments), ("call_1", "add", &json!({"a": 1})));
    let result = Part::ToolResult { call_id: Some("call_1".into()), text: "2".into() };
    assert_eq!(read[2].parts, [result]);
}

#[test]
fn the_smaller_length_counts_and_is_lowered_to_the_limit() {
    for (fields, max_tokens) in [
        (json!({"max_tokens": 5}), 5),
        (json!({"max_completion_tokens": 6}), 6),
        (json!({"max_tokens": 7, "max_completion_tokens": 6}), 6),
        (json!({"max_tokens": null, "max_completion_tokens": null}), 2048),
        (json!({"max_tokens": 32_000}), 2048),
        (json!({"max_tokens": -1}), 2048),
        // As many as the limit on logprobs allows.
        (json!({"logprobs": true, "top_logprobs": 20}), 780),
    ] {
        assert_eq!(order(fields.clone()).max_tokens, max_tokens, "{fields}");
    }
}

#[test]
fn sampling_and_logprobs_are_read() {
    let sampled = order(json!({
        "temperature": 0, "top_p": 0.5, "seed": -9_007_199_254_740_991_i64, "logprobs": true,
        "presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"7": -100}, "stop": "x",
    }));
    assert_eq!(sampled.sampling.temperature, Some(0.0));
    assert_eq!(sampled.sampling.seed, Some((-9_007_199_254_740_991_i64).cast_unsigned()));
    assert_eq!(sampled.sampling.logprobs, Some(0));
    assert_eq!(sampled.sampling.logit_bias.get(&7), Some(&-100.0));
    assert_eq!(sampled.stop, ["x"]);
}

#[test]
fn tools_choices_and_formats_are_read() {
    let add = json!({"type": "function", "function": {"name": "add", "strict": true}});
    let form = |fields: Value| order(fields).form;
    let asked = form(json!({"tools": [add]}));
    assert_eq!((asked.tools, asked.tool_choice), (vec![Tool::named("add")], ToolChoice::Auto));
    let named = json!({"type": "function", "function": {"name": "add"}});
    let asked = form(json!({"tools": [add], "tool_choice": named}));
    assert_eq!(asked.tool_choice, ToolChoice::Function("add".into()));
    let asked = form(json!({"tools": [add], "tool_choice": "none"}));
    assert_eq!((asked.tools, asked.tool_choice), (vec![], ToolChoice::None));
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let asked = form(json!({"response_format": format, "tools": [add]}));
    assert_eq!(asked.constraint, Some(Constraint::JsonSchema(schema)));
    assert_eq!(asked.tools, [], "an answer with a format calls nothing");
    assert_eq!(form(json!({"response_format": {"type": "text"}})).constraint, None);
}

#[test]
fn thinking_is_set_by_effort_or_by_the_template_argument() {
    for (fields, thinks) in [
        (json!({}), None),
        (json!({"reasoning_effort": null}), None),
        (json!({"reasoning_effort": "none"}), Some(false)),
        (json!({"reasoning_effort": "high"}), Some(true)),
        (json!({"chat_template_kwargs": {"enable_thinking": false}}), Some(false)),
        (
            json!({"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": false}}),
            Some(false),
        ),
    ] {
        assert_eq!(order(fields.clone()).form.enable_thinking, thinks, "{fields}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (fields, problems) in [
        (json!({"messages": null}), "messages missing"),
        (json!({"messages": []}), "messages list_type"),
        (json!({"messages": [1]}), "messages.0 dict_type"),
        (json!({"messages": [{"role": "robot"}]}), "messages.0.role enum"),
        (json!({"messages": [{"role": "user", "content": 1}]}), "messages.0.content string_type"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages.0.content.0 value_error",
        ),
        (json!({"n": 9}), "n less_than_equal"),
        (json!({"max_tokens": 0}), "max_tokens greater_than_equal"),
        (json!({"temperature": 3}), "temperature less_than_equal"),
        (json!({"top_logprobs": 2}), "top_logprobs value_error"),
        (json!({"logprobs": 2}), "logprobs bool_type"),
        (json!({"tool_choice": "required"}), "tool_choice value_error"),
        (json!({"tools": [{"type": "web_search"}]}), "tools.0 unsupported_parameter"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type literal_error"),
        (json!({"reasoning_effort": "huge"}), "reasoning_effort enum"),
        (json!({"modalities": ["text", "audio"]}), "modalities unsupported_parameter"),
        (json!({"audio": {"voice": "x"}}), "audio unsupported_parameter"),
        (json!({"functions": []}), "functions unsupported_parameter"),
        (json!({"function_call": "auto"}), "function_call unsupported_parameter"),
        (json!({"web_search_options": {}}), "web_search_options unsupported_parameter"),
        (json!({"metadata": {"a": 1}}), "metadata value_error"),
    ] {
        let found = read(fields.clone()).map(drop);
        assert_eq!(found, Err(vec![problems.to_owned()]), "{fields}");
    }
}

#[test]
fn null_is_the_same_as_absent_and_unknown_fields_are_ignored() {
    let names = [
        "n",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "logprobs",
        "top_logprobs",
        "seed",
        "temperature",
        "top_p",
        "logit_bias",
        "metadata",
        "user",
        "service_tier",
        "functions",
        "audio",
        "modalities",
        "stream",
        "stream_options",
        "reasoning_effort",
        "store",
    ];
    let all = Value::from_iter(names.map(|name| (name.to_owned(), Value::Null)));
    assert_eq!(order(all), order(json!({})));
    let unknown = json!({"store": true, "prediction": {}, "verbosity": "low", "nonsense": [1]});
    assert_eq!(order(unknown), order(json!({})));
}

#[test]
fn the_service_tier_is_a_priority() {
    for (tier, lane) in [
        ("auto", None),
        ("default", None),
        ("flex", Some(Lane::Low)),
        ("priority", Some(Lane::High)),
    ] {
        assert_eq!(order(json!({"service_tier": tier})).queueing.lane, lane, "{tier}");
    }
}

#[test]
fn a_last_message_is_continued_on_request() {
    let chat = json!([
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "One, "},
    ]);
    let expected = vec![Message::user("Hi"), Message::new(Role::Assistant, "One, ")];
    assert_eq!(messages(chat.clone()), expected, "not by itself");
    let asked = json!({
        "messages": chat, "continue_final_message": true, "add_generation_prompt": false,
    });
    assert_eq!(order(asked).prompt, Prompt::Continued(expected));
    let field = "continue_final_message value_error";
    let call = json!([{"type": "function", "id": "call_1", "function": {"name": "f"}}]);
    let called = json!([{"role": "assistant", "content": null, "tool_calls": call}]);
    for (edit, problem) in [
        (json!({"continue_final_message": true}), field),
        (json!({"continue_final_message": true, "messages": called}), field),
        (
            json!({
                "continue_final_message": true, "messages": chat,
                "response_format": {"type": "json_object"},
            }),
            field,
        ),
        (
            json!({"continue_final_message": true, "add_generation_prompt": true, "messages": chat}),
            "add_generation_prompt value_error",
        ),
        (json!({"add_generation_prompt": false}), "add_generation_prompt value_error"),
    ] {
        assert_eq!(read(edit.clone()).err(), Some(vec![problem.to_owned()]), "{edit}");
    }
    assert_eq!(order(json!({"add_generation_prompt": true})).max_tokens, 2048);
}
