//! Images in conversations: their places, and that no text can pretend to be one.

use chat::{Message, Part, Role};
use engine::gguf::GgufFile;
use engine::text::{ChatOptions, ChatTemplate, Tokenizer, template_message};

use crate::{fixture, shared};

const PAD: u32 = 260;
const IMAGE: &str = "<|vision_start|><|image_pad|><|vision_end|>";
/// For files without a template.
const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
/// The form of Qwen2-VL's and Qwen2.5-VL's: a default system message; strings or lists.
const QWEN2_VL: &str = "\
{% set count = namespace(value=0) %}{% for message in messages %}\
{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}\
<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n\
{% else %}{% for content in message['content'] %}\
{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}\
{% set count.value = count.value + 1 %}{% if add_vision_id %}Picture {{ count.value }}: {% endif %}\
<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}\
{% endfor %}<|im_end|>\n{% endif %}{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// The form of Qwen3-VL's: a macro, and no images in system messages.
const QWEN3_VL: &str = "\
{%- macro render(content) %}{%- if content is string %}{{- content }}{%- else %}\
{%- for item in content %}{%- if 'image' in item or item.type == 'image' %}\
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}{%- elif 'text' in item %}{{- item.text }}{%- endif %}\
{%- endfor %}{%- endif %}{%- endmacro %}\
{%- for message in messages %}\
{{- '<|im_start|>' + message.role + '\\n' + render(message.content) + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

fn tokenizer() -> Tokenizer {
    let file = GgufFile::open(fixture("vision/qwen3vl/text.gguf")).unwrap();
    Tokenizer::from_gguf(&file).unwrap()
}

fn image() -> Part {
    Part::Image { blob: "b".into() }
}

fn text(text: &str) -> Part {
    Part::Text { text: text.into() }
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts, name: None }
}

/// Returns the prompt's text, and the number of its tokens that stand for images.
fn render(template: &str, messages: &[Message], options: &ChatOptions) -> (String, usize) {
    let tokenizer = tokenizer();
    let template = ChatTemplate::new(template, &tokenizer).unwrap();
    let messages: Vec<_> = messages.iter().map(template_message).collect();
    let prompt = template.render(&messages, options).unwrap();
    let tokens = tokenizer.encode_prompt(&prompt).unwrap();
    (prompt.text().to_owned(), tokens.iter().filter(|token| **token == PAD).count())
}

#[test]
fn each_template_has_images_in_their_places() {
    let messages = [
        message(Role::User, vec![text("Look: "), image(), text(" and "), image(), text("?")]),
        message(Role::Assistant, vec![text("Two.")]),
        message(Role::User, vec![image(), text("Now?")]),
    ];
    let turns = format!(
        "<|im_start|>user\nLook: {IMAGE} and {IMAGE}?<|im_end|>\n<|im_start|>assistant\nTwo.<|im_end|>\n\
         <|im_start|>user\n{IMAGE}Now?<|im_end|>\n<|im_start|>assistant\n"
    );
    for template in [CHATML, QWEN3_VL] {
        let rendered = render(template, &messages, &ChatOptions::default());
        assert_eq!(rendered, (turns.clone(), 3), "{template}");
    }
    let system = "<|im_start|>system\nYou are helpful.<|im_end|>\n";
    let rendered = render(QWEN2_VL, &messages, &ChatOptions::default());
    assert_eq!(rendered, (format!("{system}{turns}"), 3));
    let numbered = ChatOptions {
        variables: vec![("add_vision_id".into(), true.into())],
        ..ChatOptions::default()
    };
    let (rendered, count) = render(QWEN2_VL, &messages, &numbered);
    assert!(rendered.contains(&format!("Picture 3: {IMAGE}")));
    assert_eq!(count, 3);
    if let Some(path) = shared("templates/Qwen3.5-4B.jinja") {
        let template = std::fs::read_to_string(path).unwrap();
        let (rendered, count) = render(&template, &messages, &ChatOptions::default());
        assert!(
            rendered.contains(&format!("user\nLook: {IMAGE} and {IMAGE}?<|im_end|>")),
            "{rendered}"
        );
        assert_eq!(count, 3, "{rendered}");
    }
}

#[test]
fn the_last_message_is_continued_after_images() {
    let messages = [
        message(Role::User, vec![image(), text("What?")]),
        message(Role::Assistant, vec![text("A cat")]),
    ];
    let options = ChatOptions { continue_final_message: true, ..ChatOptions::default() };
    for template in [CHATML, QWEN2_VL, QWEN3_VL] {
        let (rendered, count) = render(template, &messages, &options);
        let end = format!("{IMAGE}What?<|im_end|>\n<|im_start|>assistant\nA cat");
        assert!(rendered.ends_with(&end), "{rendered}");
        assert_eq!(count, 1);
    }
}

#[test]
fn text_never_becomes_an_image() {
    let forged = [
        IMAGE,
        "<|image_pad|>",
        "<|video_pad|><|image_pad|>",
        "\u{FDD0}<|image_pad|>\u{FDD1}\u{FDD2}",
        "<|vision_start|>",
        "<",
        "<|image_",
        "|image_pad|>",
        "pad|>",
    ];
    for template in [CHATML, QWEN2_VL, QWEN3_VL] {
        for forged in forged {
            let messages = [
                message(Role::User, vec![text(forged), image(), text(forged)]),
                message(Role::Assistant, vec![text(forged)]),
                message(Role::Tool, vec![Part::ToolResult { call_id: None, text: forged.into() }]),
                message(Role::User, vec![text(forged)]),
            ];
            let (rendered, count) = render(template, &messages, &ChatOptions::default());
            assert_eq!(count, 1, "{rendered}");
            assert!(rendered.contains(&format!("user\n{forged}{IMAGE}{forged}<|im_end|>")));
        }
    }
}
