//! Reads the input of a job, as RunPod's and Replicate's clients send it: the fields of a chat
//! completion, and `prompt` for a conversation of one message.

mod openapi;

use protocol::ModelId;
use serde_json::{Map, Value, json};

use super::openai::ChatRequest;
use super::openai::request::refuse;
use crate::options::Options;
use crate::order::Order;
use crate::validate::fields::Fields;
use crate::validate::{FieldError, type_name};

pub(super) use openapi::input;

/// The field that has the input.
const INPUT: &str = "input";
/// The field of the input that RunPod's clients put the sampling fields in.
const SAMPLING: &str = "sampling_params";
/// Names of other models' fields, and the names of the fields that mean the same here.
const SYNONYMS: [(&str, &str); 2] = [("max_new_tokens", "max_tokens"), ("stop_sequences", "stop")];

/// Reads the `input` of a body whose model is already resolved. `unsupported` are further fields
/// that are refused, as [`refuse`] takes them.
///
/// # Errors
/// If the input is invalid. Returns all problems at once.
pub(super) fn order(
    body: &Value,
    model: ModelId,
    options: &Options,
    unsupported: &[(&str, &[Value], &str)],
) -> Result<Order, Vec<FieldError>> {
    let mut fields = Fields::lenient(body)?;
    let expected = "an object with a prompt, or with messages";
    let input = fields.required(INPUT, expected).and_then(|input| {
        if !input.is_object() {
            let message = format!("expected {expected}, got {}", type_name(input));
            fields.problem(INPUT, "dict_type", message);
        }
        input.as_object()
    });
    let input = fields.finish(input)?;
    match read(input, model, options, unsupported) {
        Ok(mut order) => {
            let images = order.images.pending.iter_mut();
            images.for_each(|image| image.loc.insert(1, INPUT.into()));
            Ok(order)
        }
        Err(mut problems) => {
            problems.iter_mut().for_each(|problem| problem.loc.insert(1, INPUT.into()));
            Err(problems)
        }
    }
}

fn read(
    input: &Map<String, Value>,
    model: ModelId,
    options: &Options,
    unsupported: &[(&str, &[Value], &str)],
) -> Result<Order, Vec<FieldError>> {
    let flat = Value::Object(flatten(input)?);
    let mut fields = Fields::lenient(&flat)?;
    let messages = messages(&mut fields);
    let (one, off) = ([json!(1)], [json!(false)]);
    let (chat, none, whole) = ([json!(true)], [json!([])], [json!("{prompt}")]);
    refuse(
        &mut fields,
        &[
            ("n", &one, "a job has one answer"),
            ("best_of", &one, "a job has one answer"),
            ("use_beam_search", &off, "tokens are sampled"),
            ("ignore_eos", &off, "an answer ends where the model ends it"),
            ("min_tokens", &[json!(0)], "an answer ends where the model ends it"),
            ("stop_token_ids", &none, "use stop"),
            ("apply_chat_template", &chat, "use POST /v1/completions"),
            ("prompt_template", &whole, "the model's own chat template is used"),
            ("openai_route", &[], "use the routes below /v1"),
            ("openai_input", &[], "use the routes below /v1"),
        ],
    );
    refuse(&mut fields, unsupported);
    let messages = fields.finish(Some(messages))?;
    let mut chat = flat;
    // Streams have a route of their own.
    chat["stream"] = Value::Null;
    if let Some(messages) = messages {
        chat["messages"] = messages;
    }
    ChatRequest::read(&chat, model, options).map(|request| request.order)
}

/// Moves the sampling fields beside the others, and gives all of them the names that they have in
/// chat completions.
fn flatten(input: &Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut flat = input.clone();
    match flat.remove(SAMPLING) {
        None | Some(Value::Null) => {}
        Some(Value::Object(sampling)) => flat.extend(sampling),
        Some(other) => {
            let message = format!("expected an object, got {}", type_name(&other));
            return Err(vec![FieldError::new(
                ["body".into(), SAMPLING.into()],
                "dict_type",
                message,
            )]);
        }
    }
    for (other, name) in SYNONYMS {
        let Some(value) = flat.remove(other).filter(|value| !value.is_null()) else { continue };
        let value = match value {
            // Replicate's models take a list separated by commas.
            Value::String(list) if name == "stop" => {
                list.split(',').filter(|text| !text.is_empty()).collect()
            }
            value => value,
        };
        flat.entry(name).or_insert(value);
    }
    Ok(flat)
}

/// Converts `prompt` and `system_prompt` to messages. Returns `None` if the input has neither.
fn messages(fields: &mut Fields<'_>) -> Option<Value> {
    let system = fields.get("system_prompt").and_then(|text| fields.text("system_prompt", text));
    let system = system.filter(|text| !text.is_empty());
    let system = system.map(|text| json!({"role": "system", "content": text}));
    let prompt = fields.get("prompt").and_then(|prompt| fields.text("prompt", prompt));
    let given = fields.get("messages");
    let rest = match (prompt, given) {
        (Some(_), Some(_)) => {
            fields.problem("prompt", "value_error", "give either a prompt or messages, not both");
            return None;
        }
        (Some(prompt), None) => {
            let mut message = json!({"role": "user", "content": prompt});
            for name in ["image", "images"] {
                if let Some(images) = fields.get(name) {
                    message[name] = images.clone();
                }
            }
            vec![message]
        }
        (None, None) => {
            if fields.get("prompt").is_none() {
                let message = "this field is required: a string, unless there are messages";
                fields.problem("prompt", "missing", message);
            }
            return None;
        }
        (None, Some(Value::Array(messages))) if system.is_some() => messages.clone(),
        // As it is: the chat completion's reader checks it.
        (None, Some(_)) => return None,
    };
    Some(system.into_iter().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use protocol::{Message, Prompt, Role};

    use super::*;

    fn read_input(input: &Value) -> Result<Order, Vec<String>> {
        let options = Options::new(vec!["key".into()], ModelId::new("demo"));
        let tools: [Value; 1] = [json!([])];
        let unsupported: [(&str, &[Value], &str); 1] = [("tools", &tools, "no")];
        let body = json!({"input": input});
        order(&body, ModelId::new("demo"), &options, &unsupported).map_err(|problems| {
            problems.iter().map(|problem| problem.param().unwrap_or_default()).collect()
        })
    }

    fn texts(order: &Order) -> Vec<(Role, String)> {
        let Prompt::Chat(messages) = &order.prompt else { panic!("{order:?}") };
        messages.iter().map(|message: &Message| (message.role, message.text())).collect()
    }

    #[test]
    fn a_prompt_is_a_conversation_of_one_message() {
        let order = read_input(&json!({"prompt": "a", "system_prompt": "b"})).unwrap();
        assert_eq!(texts(&order), [(Role::System, "b".into()), (Role::User, "a".into())]);
        let user = json!([{"role": "user", "content": "a"}]);
        for messages in [json!({"messages": user}), json!({"messages": user, "system_prompt": "b"})]
        {
            let order = read_input(&messages).unwrap();
            assert_eq!(texts(&order).last(), Some(&(Role::User, "a".into())), "{messages}");
        }
    }

    #[test]
    fn sampling_fields_have_their_names_of_other_models_too() {
        for input in [
            json!({"prompt": "a", "max_new_tokens": 7, "stop_sequences": "x,y", "top_k": 3}),
            json!({"prompt": "a", "sampling_params": {"max_tokens": 7, "stop": ["x", "y"], "top_k": 3}}),
        ] {
            let order = read_input(&input).unwrap();
            assert_eq!((order.max_tokens, order.sampling.top_k), (7, Some(3)), "{input}");
            assert_eq!(order.stop, ["x", "y"]);
        }
    }

    #[test]
    fn problems_name_their_place_in_the_input() {
        for (input, param) in [
            (json!(null), "input"),
            (json!([]), "input"),
            (json!({}), "input.prompt"),
            (json!({"prompt": 7}), "input.prompt"),
            (json!({"prompt": "a", "messages": []}), "input.prompt"),
            (json!({"messages": []}), "input.messages"),
            (json!({"prompt": "a", "sampling_params": 7}), "input.sampling_params"),
            (json!({"prompt": "a", "temperature": 99}), "input.temperature"),
            (json!({"prompt": "a", "n": 2}), "input.n"),
            (json!({"prompt": "a", "apply_chat_template": false}), "input.apply_chat_template"),
            (json!({"prompt": "a", "tools": [{}]}), "input.tools"),
        ] {
            assert_eq!(read_input(&input).unwrap_err(), [param], "{input}");
        }
    }
}
