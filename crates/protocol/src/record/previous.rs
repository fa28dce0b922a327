//! Converts records of version 1.
//!
//! In it a task had `params`: `max_tokens`, `stop`, and all sampling fields with a value; `unset` listed those that
//! the request had not set. Whether an answer was split followed from its tools and `enable_thinking`. All other
//! records differ only by fields that have defaults.

use serde_json::{Value, json};

/// The version that is converted.
pub(super) const VERSION: u32 = 1;

/// Converts a record in place.
pub(super) fn upgrade(record: &mut Value) {
    let Some(task) = record.as_object_mut().filter(|task| task.contains_key("prompt")) else {
        return;
    };
    if let Some(Value::Object(mut params)) = task.remove("params") {
        let unset = params.remove("unset").unwrap_or_default();
        for name in unset.as_array().into_iter().flatten().filter_map(Value::as_str) {
            params.remove(name);
        }
        // A value of null meant all tokens, unless it was unset.
        let is_unset = |name: &str| unset.as_array().is_some_and(|all| all.contains(&json!(name)));
        for (name, neutral) in [("top_k", 0), ("min_p", 0), ("repetition_penalty", 1)] {
            if !is_unset(name) && !params.contains_key(name) {
                params.insert(name.to_owned(), json!(neutral));
            }
        }
        for name in ["max_tokens", "stop"] {
            if let Some(value) = params.remove(name) {
                task.insert(name.to_owned(), value);
            }
        }
        task.insert("sampling".to_owned(), Value::Object(params));
    }
    if let Some(Value::Object(form)) = task.get_mut("form") {
        let has = |name: &str| form.get(name).is_some_and(|value| !value.is_null());
        let split = has("enable_thinking")
            || has("tools")
            || form.get("tool_choice") == Some(&json!("none"));
        form.insert("split".to_owned(), json!(split));
    }
}

#[cfg(test)]
mod tests {
    use crate::record::decode;
    use crate::{Prompt, Sampling, Task};

    fn task(params: &str, form: &str) -> Task {
        let id = "0192f0c1-2345-7abc-8def-0123456789ab";
        let text = format!(
            r#"{{"v":1,"id":"{id}","tenant":"t","model":"demo","lane":"low",
                "prompt":{{"chat":[{{"role":"user","content":"Hi"}}]}},"params":{params},
                "form":{form},"time_limit_s":1,"result_ttl_s":2,"max_attempts":3}}"#
        );
        decode(&text).unwrap()
    }

    #[test]
    fn a_task_of_the_previous_version_is_read() {
        let read = task(
            r#"{"max_tokens":5,"temperature":0.7,"top_p":0.5,"seed":1,"stop":["x"],
                "unset":["temperature","top_k"]}"#,
            "{}",
        );
        assert_eq!((read.max_tokens, read.stop), (5, vec!["x".to_owned()]));
        assert_eq!(read.prompt, Prompt::user("Hi"));
        let expected = Sampling {
            top_p: Some(0.5),
            seed: Some(1),
            min_p: Some(0.0),
            repetition_penalty: Some(1.0),
            ..Sampling::default()
        };
        assert_eq!(read.sampling, expected);
        assert!(!read.form.split);
        let all = task(r#"{"max_tokens":5,"temperature":0.0,"top_p":1.0}"#, "{}").sampling;
        assert_eq!(all.top_k, Some(0), "all tokens were asked for");
    }

    #[test]
    fn answer_splitting_is_preserved_from_the_previous_version() {
        let params = r#"{"max_tokens":5,"temperature":0.0,"top_p":1.0}"#;
        for (form, split) in [
            (r#"{"enable_thinking":false}"#, true),
            (r#"{"tools":[{"name":"f"}]}"#, true),
            (r#"{"tool_choice":"none"}"#, true),
            (r#"{"constraint":"json_object"}"#, false),
        ] {
            assert_eq!(task(params, form).form.split, split, "{form}");
        }
    }
}
