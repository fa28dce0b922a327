//! "Did you mean": finds the known name closest to a mistyped one.

/// Names that other systems use for our fields.
const ALIASES: [(&str, &str); 13] = [
    ("max_new_tokens", "max_tokens"),
    ("max_completion_tokens", "max_tokens"),
    ("max_length", "max_tokens"),
    ("text", "prompt"),
    ("input", "prompt"),
    ("query", "prompt"),
    ("user", "user_id"),
    ("stop_sequences", "stop"),
    ("model_name", "model"),
    ("repeat_penalty", "repetition_penalty"),
    ("webhook", "webhook_url"),
    ("callback", "webhook_url"),
    ("callback_url", "webhook_url"),
];

/// Returns the name in `known` that `given` most likely stands for.
pub(super) fn closest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let simple: String = given
        .chars()
        .take(64)
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == given) {
        return known.iter().copied().find(|candidate| candidate == name);
    }
    known
        .iter()
        .map(|name| (strsim::levenshtein(&simple, &name.replace('_', "")), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = ["prompt", "max_tokens", "temperature", "top_p", "top_k", "user_id"];

    #[test]
    fn misspelled_fields_are_recognised() {
        for (given, meant) in [
            ("max_token", "max_tokens"),
            ("maxTokens", "max_tokens"),
            ("Prompt", "prompt"),
            ("promt", "prompt"),
            ("temprature", "temperature"),
            ("topp", "top_p"),
            ("top-k", "top_k"),
            ("max_new_tokens", "max_tokens"),
            ("user", "user_id"),
        ] {
            assert_eq!(closest(given, &KNOWN), Some(meant), "{given}");
        }
    }

    #[test]
    fn unrelated_fields_get_no_suggestion() {
        for given in ["stream", "webhook", "", "x", "\u{1f980}"] {
            assert_eq!(closest(given, &KNOWN), None, "{given}");
        }
    }
}
