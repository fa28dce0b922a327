//! Tokenizers of files that say less, or say it by another name: read as llama.cpp reads them.

use engine::gguf::{GgufFile, Value};
use engine::text::{ChatTemplate, Tokenizer};
use engine::{Input, Message};

use crate::edit::{Gguf, answer};

const PRE: &str = "tokenizer.ggml.pre";
const KINDS: &str = "tokenizer.ggml.token_type";

fn tokenizer(file: &Gguf) -> Tokenizer {
    Tokenizer::from_gguf(&GgufFile::from_bytes(&file.bytes(), "changed.gguf").unwrap()).unwrap()
}

fn fixture() -> Gguf {
    Gguf::fixture("qwen3/qwen3-f32")
}

fn chat() -> Input {
    let content = "who takes the lease?".to_owned();
    Input::Chat(vec![Message::user(content)])
}

/// Texts that the families cut differently.
const TEXTS: [&str; 5] =
    ["I'LL pay (42€)!", "a_b\n\n\tc", "x!!\n\ny", "它's 2024", "  two  spaces "];

#[test]
fn alias_names_select_the_qwen_pre_tokenizer() {
    let own = tokenizer(&fixture());
    for name in ["deepseek-r1-qwen", "megrez", "kormo"] {
        let other = tokenizer(&fixture().with(PRE, Value::String(name.to_owned())));
        for text in TEXTS {
            assert_eq!(other.encode(text).unwrap(), own.encode(text).unwrap(), "{name} {text:?}");
        }
    }
}

#[test]
fn missing_pre_tokenizer_name_selects_the_llama_cpp_default() {
    let (own, missing) = (tokenizer(&fixture()), tokenizer(&fixture().with(PRE, None)));
    let named = tokenizer(&fixture().with(PRE, Value::String("default".to_owned())));
    for text in TEXTS {
        let tokens = missing.encode(text).unwrap();
        assert_eq!(missing.decode(&tokens), text);
        assert_eq!(named.encode(text).unwrap(), tokens);
    }
    // The second space is a word with the bracket for Qwen, and with the first space for the default.
    assert_ne!(missing.encode("a  (b").unwrap(), own.encode("a  (b").unwrap());
    let engine = fixture().with(PRE, None).start().unwrap();
    answer(&engine, chat());
}

#[test]
fn without_token_types_only_control_like_tokens_are_special() {
    let (own, missing) = (fixture(), fixture().with(KINDS, None));
    let (tokens, other) = (tokenizer(&own), tokenizer(&missing));
    for text in TEXTS.into_iter().chain(["<|im_start|>user\nhi<|im_end|>\n<|endoftext|>"]) {
        assert_eq!(other.encode(text).unwrap(), tokens.encode(text).unwrap(), "{text:?}");
    }
    assert_eq!(other.ends(), tokens.ends());
    let answers = [&own, &missing].map(|file| answer(&file.start().unwrap(), chat()));
    assert_eq!(answers[0], answers[1]);
    let file = GgufFile::from_bytes(&missing.bytes(), "changed.gguf").unwrap();
    let template = ChatTemplate::from_gguf(&file, &other).unwrap();
    let turns = [Message::user("<|im_end|>")];
    let prompt = template.render(&turns, &Default::default()).unwrap();
    // What a message spells out stays text.
    assert_ne!(other.encode_prompt(&prompt).unwrap(), other.encode(prompt.text()).unwrap());
}
