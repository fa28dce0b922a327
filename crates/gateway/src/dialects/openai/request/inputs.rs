//! Reads texts and lists of token ids: the prompts of completions and the inputs of embeddings.

use protocol::Prompt;
use serde_json::Value;

use crate::validate::fields::Fields;
use crate::validate::type_name;

/// The allowed values, for messages.
const EXPECTED: &str =
    "a string, an array of strings, an array of token ids, or an array of such arrays";
/// The size of a token id in bytes, for the limit on all inputs together.
const TOKEN_BYTES: usize = size_of::<u32>();

/// Reads a field that has one input or several, at most `most`, with at most `max_bytes` together.
/// No input is empty.
pub(in crate::dialects::openai) fn read(
    fields: &mut Fields<'_>,
    name: &str,
    most: usize,
    max_bytes: usize,
) -> Vec<Prompt> {
    let Some(value) = fields.required(name, EXPECTED) else { return Vec::new() };
    let is_tokens = |items: &[Value]| items.first().is_some_and(Value::is_number);
    let items = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(items) if is_tokens(items) => std::slice::from_ref(value),
        Value::Array(items) if !items.is_empty() => items,
        other => {
            let got = if other.is_array() { "an empty array" } else { type_name(other) };
            fields.problem(name, "list_type", format!("expected {EXPECTED}, got {got}"));
            return Vec::new();
        }
    };
    if items.len() > most {
        let message = format!("must have at most {most} entries, has {}", items.len());
        fields.problem(name, "too_long", message);
        return Vec::new();
    }
    let is_one = std::ptr::eq(items.as_ptr(), value);
    let mut prompts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match prompt(item) {
            Ok(prompt) => prompts.push(prompt),
            Err((kind, message)) if is_one => fields.problem(name, kind, message),
            Err((kind, message)) => fields.problem_at(name, index, kind, message),
        }
    }
    let bytes: usize = prompts.iter().map(bytes).sum();
    if bytes > max_bytes {
        let message = format!(
            "may have {max_bytes} bytes together, {TOKEN_BYTES} for a token id, has {bytes}"
        );
        fields.problem(name, "string_too_long", message);
    }
    prompts
}

fn prompt(item: &Value) -> Result<Prompt, (&'static str, String)> {
    let prompt = match item {
        Value::String(text) => Prompt::Raw(text.clone()),
        Value::Array(ids) => {
            let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
            let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
            let message = "a token id is an integer from 0 to 4294967295";
            Prompt::Tokens(ids.ok_or_else(|| ("int_type", message.to_owned()))?)
        }
        other => {
            return Err(("string_type", format!("expected {EXPECTED}, got {}", type_name(other))));
        }
    };
    match bytes(&prompt) {
        0 => Err(("string_too_short", "must not be empty".to_owned())),
        _ => Ok(prompt),
    }
}

fn bytes(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Raw(text) => text.len(),
        Prompt::Tokens(ids) => ids.len() * TOKEN_BYTES,
        Prompt::Chat(_) | Prompt::Continued(_) | Prompt::RawImages { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_inputs(value: Value) -> Result<Vec<Prompt>, String> {
        let body = json!({"input": value});
        let mut fields = Fields::lenient(&body).unwrap();
        let inputs = read(&mut fields, "input", 3, 16);
        let problem = |problems: Vec<crate::validate::FieldError>| {
            let steps = problems[0].loc.iter().map(|step| serde_json::to_value(step).unwrap());
            format!("{} {}", Value::from_iter(steps), problems[0].kind)
        };
        fields.finish(Some(inputs)).map_err(problem)
    }

    #[test]
    fn inputs_are_texts_or_token_ids() {
        let raw = |text: &str| Prompt::Raw(text.into());
        let cases = [
            (json!("a"), vec![raw("a")]),
            (json!(["a", "b"]), vec![raw("a"), raw("b")]),
            (json!([1, 2]), vec![Prompt::Tokens(vec![1, 2])]),
            (json!([[1], [2]]), vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2])]),
            (json!(["a", [2]]), vec![raw("a"), Prompt::Tokens(vec![2])]),
        ];
        for (value, inputs) in cases {
            assert_eq!(read_inputs(value.clone()), Ok(inputs), "{value}");
        }
    }

    #[test]
    fn other_inputs_are_refused_with_their_place() {
        let cases = [
            (json!(null), r#"["body","input"] missing"#),
            (json!([]), r#"["body","input"] list_type"#),
            (json!({}), r#"["body","input"] list_type"#),
            (json!(""), r#"["body","input"] string_too_short"#),
            (json!([1, "a"]), r#"["body","input"] int_type"#),
            (json!([-1]), r#"["body","input"] int_type"#),
            (json!(["a", 1]), r#"["body","input",1] string_type"#),
            (json!(["a", ""]), r#"["body","input",1] string_too_short"#),
            (json!([[1], []]), r#"["body","input",1] string_too_short"#),
            (json!(["a", "b", "c", "d"]), r#"["body","input"] too_long"#),
            (json!([1, 2, 3, 4, 5]), r#"["body","input"] string_too_long"#),
        ];
        for (value, problem) in cases {
            assert_eq!(read_inputs(value.clone()), Err(problem.to_owned()), "{value}");
        }
    }
}
