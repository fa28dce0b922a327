//! Determines where the answer begins. A model may reason first, depending on what its template renders. A
//! constraint applies to the answer, never to the reasoning.

use serde::Serialize;

use super::answer::{THINK, THINK_END};
use super::{ChatError, ChatOptions, ChatTemplate, Prompt};

/// Where the answer to a prompt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerStart {
    /// At the first token.
    AtFirstToken,
    /// After the `</think>` of reasoning that the prompt opened.
    InsideReasoning,
    /// After the `</think>` of reasoning that the model opens itself.
    BeforeReasoning,
}

impl AnswerStart {
    /// Determines the start from the end of a prompt. A prompt does not show whether the model opens reasoning itself.
    pub(crate) fn of(end_of_prompt: &str) -> Self {
        let is_open = end_of_prompt.trim_end().ends_with(THINK);
        if is_open { Self::InsideReasoning } else { Self::AtFirstToken }
    }
}

impl ChatTemplate {
    /// Renders a conversation for a constrained answer, and returns where the answer begins. Unless the options
    /// enable thinking, it is disabled in the template: a template that opens reasoning nevertheless belongs to a
    /// model that always thinks, and one that ignores the setting to a model that never does.
    ///
    /// # Errors
    /// Returns the errors of [`Self::render`].
    pub fn render_constrained<M: Serialize>(
        &self,
        messages: &[M],
        options: &ChatOptions,
    ) -> Result<(Prompt, AnswerStart), ChatError> {
        let thinks = options.enable_thinking.unwrap_or(false);
        let with = |thinks| ChatOptions { enable_thinking: Some(thinks), ..options.clone() };
        let prompt = self.render(messages, &with(thinks))?;
        let mut start = AnswerStart::of(prompt.text());
        // A message that is continued is past its reasoning, if it has any.
        if thinks && !options.continue_final_message && start == AnswerStart::AtFirstToken {
            // A template that supports the setting renders something else for `false`, such as empty reasoning.
            let without = self.render(messages, &with(false))?;
            let closes = prompt.text().trim_end().ends_with(THINK_END);
            if without != prompt && !closes {
                start = AnswerStart::BeforeReasoning;
            }
        }
        Ok((prompt, start))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::gguf::GgufFile;
    use crate::text::{Tokenizer, template_value};

    const TURN: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                        {{ '<|im_start|>assistant\\n' }}";
    /// As expressions, since Jinja drops a newline at the end of a template.
    const OPEN: &str = "{{ '<think>\\n' }}";
    const EMPTY: &str = "{{ '<think>\\n\\n</think>\\n\\n' }}";

    fn start(ending: &str, thinks: Option<bool>) -> (String, AnswerStart) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3");
        let file = GgufFile::open(folder.join("qwen3-f32.gguf")).unwrap();
        let tokenizer = Tokenizer::from_gguf(&file).unwrap();
        let template = ChatTemplate::new(&format!("{TURN}{ending}"), &tokenizer).unwrap();
        let message = template_value(&serde_json::json!({"role": "user", "content": "A <think>?"}));
        let options = ChatOptions { enable_thinking: thinks, ..ChatOptions::default() };
        let (prompt, start) = template.render_constrained(&[message], &options).unwrap();
        (prompt.text().split("assistant\n").nth(1).unwrap().to_owned(), start)
    }

    #[test]
    fn answer_start_is_derived_from_the_rendered_template() {
        use AnswerStart::{AtFirstToken, BeforeReasoning, InsideReasoning};
        let empty = "<think>\n\n</think>\n\n";
        let hybrid = format!(
            "{{% if enable_thinking is defined and enable_thinking is false %}}{EMPTY}{{% endif %}}"
        );
        let newer = format!(
            "{{% if enable_thinking is defined and enable_thinking is false %}}{EMPTY}{{% else %}}{OPEN}{{% endif %}}"
        );
        let off_by_default = format!(
            "{{% if enable_thinking is defined and enable_thinking is true %}}{OPEN}{{% else %}}{EMPTY}{{% endif %}}"
        );
        let (hybrid, newer, off_by_default) = (&*hybrid, &*newer, &*off_by_default);
        for (name, ending, thinks, end, expected) in [
            // never thinks: Qwen2.5, Qwen3-Instruct-2507
            ("none", "", None, "", AtFirstToken),
            ("none", "", Some(true), "", AtFirstToken),
            ("none", "", Some(false), "", AtFirstToken),
            // always thinks: Qwen3-Thinking-2507
            ("always", OPEN, None, "<think>\n", InsideReasoning),
            ("always", OPEN, Some(true), "<think>\n", InsideReasoning),
            ("always", OPEN, Some(false), "<think>\n", InsideReasoning),
            // thinks if asked, and opens the thought itself: Qwen3
            ("hybrid", hybrid, None, empty, AtFirstToken),
            ("hybrid", hybrid, Some(false), empty, AtFirstToken),
            ("hybrid", hybrid, Some(true), "", BeforeReasoning),
            // thinks if enabled, and the template opens the reasoning: Qwen3.5
            ("newer", newer, None, empty, AtFirstToken),
            ("newer", newer, Some(false), empty, AtFirstToken),
            ("newer", newer, Some(true), "<think>\n", InsideReasoning),
            ("off by default", off_by_default, None, empty, AtFirstToken),
            ("off by default", off_by_default, Some(true), "<think>\n", InsideReasoning),
            // has an empty thought whatever is asked
            ("empty", EMPTY, Some(true), empty, AtFirstToken),
        ] {
            assert_eq!(start(ending, thinks), (end.to_owned(), expected), "{name}, {thinks:?}");
        }
    }
}
