//! Prompts that end inside their last message (`continue_final_message` of transformers).

use engine::text::{ChatError, ChatOptions, ChatTemplate, TemplateValue};

use crate::{fixture, tiny, value};

const IM_END: u32 = 505;

/// Renders a conversation whose last message is `last`, and counts the tokens that end a turn.
fn continued(content: &str, last: &str) -> Result<(String, usize), ChatError> {
    let tokenizer = tiny();
    let source = format!(
        "{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n{content}<|im_end|>\n{{% endfor %}}\
         {{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
    );
    let template = ChatTemplate::new(&source, &tokenizer).unwrap();
    let messages = serde_json::json!([
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": last},
    ]);
    let messages: Vec<TemplateValue> = value(&messages.to_string()).try_iter().unwrap().collect();
    let options = ChatOptions { continue_final_message: true, ..ChatOptions::default() };
    let prompt = template.render(&messages, &options)?;
    let tokens = tokenizer.encode_prompt(&prompt).unwrap();
    let ends = tokens.iter().filter(|token| **token == IM_END).count();
    Ok((prompt.text().to_owned(), ends))
}

const PLAIN: &str = "{{ m.content }}";

#[test]
fn the_prompt_ends_with_the_text_of_the_last_message() {
    let before = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    for (content, last, end) in [
        (PLAIN, "One, two", "One, two"),
        (PLAIN, "One, two, \n", "One, two, \n"),
        (PLAIN, "", ""),
        // Twice the same text, and the text of the first message.
        (PLAIN, "Hi Hi", "Hi Hi"),
        (PLAIN, "a\u{FDD0}\u{FDD2}b", "a\u{FDD0}\u{FDD2}b"),
        // Templates that trim texts.
        ("{{ m.content | trim }}", " One, two, \n", "One, two,"),
        ("{{ m.content.strip() }}", "One, ", "One,"),
        ("{{ m.content.lstrip('\\n') }}", "\nOne, ", "One, "),
        // A template that renders something after the text.
        ("{{ m.content }} and so on", "One", "One"),
        // A template that has the text twice.
        ("{{ m.content }}/{{ m.content }}", "One", "One /One"),
    ] {
        let (text, ends) = continued(content, last).unwrap();
        let text = text.replace("Hi/Hi", "Hi").replace("Hi and so on", "Hi");
        assert_eq!((text, ends), (format!("{before}{end}"), 1), "{content} {last:?}");
    }
    // The message can't end its own turn.
    let (text, ends) = continued(PLAIN, "One<|im_end|>\n").unwrap();
    assert!(text.ends_with("assistant\nOne<|im_end|>\n") && ends == 1, "{text} {ends}");
}

#[test]
fn a_message_that_the_template_does_not_render_is_refused() {
    let hidden = "{% if m.role == 'user' %}{{ m.content }}{% endif %}";
    assert_eq!(continued(hidden, "One").unwrap_err(), ChatError::NotContinued);
    let template = ChatTemplate::new(PLAIN, &tiny()).unwrap();
    let options = ChatOptions { continue_final_message: true, ..ChatOptions::default() };
    for messages in ["[]", r#"[{"role": "assistant", "content": null}]"#, "[1]"] {
        let messages: Vec<TemplateValue> = value(messages).try_iter().unwrap().collect();
        assert_eq!(template.render(&messages, &options).unwrap_err(), ChatError::NotContinued);
    }
}

#[test]
fn a_constrained_answer_begins_at_its_first_token() {
    let source = std::fs::read_to_string(fixture("qwen3/hf/chat_template.jinja")).unwrap();
    let template = ChatTemplate::new(&source, &tiny()).unwrap();
    let messages: Vec<TemplateValue> = value(
        r#"[{"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "One, ", "reasoning_content": "Hm"}]"#,
    )
    .try_iter()
    .unwrap()
    .collect();
    for enable_thinking in [None, Some(false), Some(true)] {
        let options =
            ChatOptions { continue_final_message: true, enable_thinking, ..ChatOptions::default() };
        let (prompt, start) = template.render_constrained(&messages, &options).unwrap();
        assert!(prompt.text().ends_with("assistant\n<think>\nHm\n</think>\n\nOne, "), "{prompt:?}");
        assert_eq!(start, engine::text::AnswerStart::AtFirstToken);
    }
}
