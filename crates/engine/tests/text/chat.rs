//! Renders whole conversations with the fixtures' template and with published ones.

use engine::gguf::GgufFile;
use engine::text::{ChatError, ChatOptions, ChatTemplate, TemplateValue};
use sha2::{Digest, Sha256};

use crate::{attr, entries, fixture, items, json, shared, text, tiny};

/// Renders a fixture's conversation with its tools and variables.
fn render(template: &ChatTemplate, conversation: &TemplateValue) -> Result<String, ChatError> {
    let optional =
        |name: &str| Some(attr(conversation, name)).filter(|value| !value.is_undefined());
    let mut options = ChatOptions {
        tools: optional("tools"),
        add_generation_prompt: false,
        ..ChatOptions::default()
    };
    if optional("variables").is_some() {
        for (name, value) in entries(conversation, "variables") {
            match name.as_str() {
                "add_generation_prompt" => options.add_generation_prompt = value.is_true(),
                "enable_thinking" => options.enable_thinking = Some(value.is_true()),
                _ => options.variables.push((name, value)),
            }
        }
    }
    Ok(template.render(&items(conversation, "messages"), &options)?.text().to_owned())
}

#[test]
fn the_fixtures_template_renders_like_transformers() {
    let truth = json("text/chat.json");
    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    let template = ChatTemplate::from_gguf(&file, &tiny()).unwrap();
    let results = entries(&attr(&truth, "own"), "results");
    for (name, expected) in &results {
        let rendered = render(&template, &attr(&attr(&truth, "conversations"), name));
        match attr(expected, "error").as_str() {
            None => {
                assert_eq!(rendered.as_deref(), Ok(text(expected, "rendered").as_str()), "{name}")
            }
            Some(message) => {
                assert_eq!(rendered, Err(ChatError::Refused(message.into())), "{name}")
            }
        }
    }
    assert!(results.len() >= 10, "{}", results.len());
}

#[test]
fn published_templates_render_like_transformers() {
    let truth = json("text/chat.json");
    for (file, expected) in entries(&truth, "published") {
        let Some(path) = shared(&format!("templates/{file}")) else { continue };
        let source = std::fs::read_to_string(path).unwrap();
        if hex(&source) != text(&expected, "template_sha256") {
            println!("skipped: {file} is not the version that the fixtures were made from");
            continue;
        }
        let template = ChatTemplate::new(&source, &tiny()).expect(&file);
        for (name, expected) in entries(&expected, "results") {
            let rendered = render(&template, &attr(&attr(&truth, "conversations"), &name));
            match rendered {
                Ok(text) if !attr(&expected, "error").is_true() => {
                    let right = hex(&text) == crate::text(&expected, "sha256");
                    assert!(right, "{file}, {name}, {} bytes, not {expected}: {text}", text.len());
                }
                Err(_) if attr(&expected, "error").is_true() => {}
                other => panic!("{file}, {name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_model_without_a_template_gets_chatml() {
    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    let file = crate::malformed::rewritten(&file, "tokenizer.chat_template", None);
    let template = ChatTemplate::from_gguf(&file, &tiny()).unwrap();
    let message =
        |role: &str, content: &str| engine::Message { role: role.into(), content: content.into() };
    let messages = [message("system", "Be brief."), message("user", "Hi {{ 1 }}\n")];
    let prompt = template.render(&messages, &ChatOptions::default()).unwrap();
    assert_eq!(
        prompt.text(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ 1 }}\n<|im_end|>\n\
         <|im_start|>assistant\n"
    );
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
