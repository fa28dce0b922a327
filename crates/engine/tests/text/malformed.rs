//! A damaged or unsupported tokenizer is refused with an error that says what is wrong.

use engine::LoadError;
use engine::gguf::{Array, GgufFile, Value, Writer};
use engine::text::{ChatTemplate, Tokenizer};

use crate::{fixture, tiny};

const KEYS: [&str; 10] = [
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.chat_template",
];

/// Returns a file with the tokenizer metadata of `file`, with the value of `key` replaced, or removed if `value` is
/// `None`.
pub(crate) fn rewritten(file: &GgufFile, key: &str, value: Option<Value>) -> GgufFile {
    assert!(KEYS.contains(&key));
    let kept = KEYS.into_iter().filter(|other| *other != key);
    let mut metadata: Vec<(String, Value)> =
        kept.filter_map(|key| Some((key.to_owned(), file.metadata(key)?.clone()))).collect();
    metadata.extend(value.map(|value| (key.to_owned(), value)));
    let bytes = Writer::begin(Vec::new(), &metadata, &[]).unwrap().finish().unwrap();
    GgufFile::from_bytes(&bytes, "changed.gguf").unwrap()
}

fn with(key: &str, value: Option<Value>) -> Result<Tokenizer, LoadError> {
    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    Tokenizer::from_gguf(&rewritten(&file, key, value))
}

fn strings(key: &str) -> Vec<String> {
    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    file.require::<&[String]>(key).unwrap().to_vec()
}

fn texts(texts: Vec<String>) -> Option<Value> {
    Some(Value::Array(Array::String(texts)))
}

#[test]
fn invalid_tokenizer_keys_are_refused_by_name() {
    let changed = |key: &str, at: usize, text: &str| {
        let mut values = strings(key);
        values[at] = text.to_owned();
        texts(values)
    };
    let tokens = "tokenizer.ggml.tokens";
    let merges = "tokenizer.ggml.merges";
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let cases = [
        ("tokenizer.ggml.model", None, "is missing"),
        ("tokenizer.ggml.model", text("llama"), "\"llama\""),
        ("tokenizer.ggml.pre", text("gpt-4o"), "\"gpt-4o\""),
        ("tokenizer.ggml.pre", Some(Value::Int(1)), "should be a text"),
        (tokens, None, "is missing"),
        (
            "tokenizer.ggml.token_type",
            Some(Value::Array(Array::Int(vec![1; 511]))),
            "each of the 512 tokens",
        ),
        (tokens, changed(tokens, 300, ""), "an empty text for token 300"),
        (tokens, changed(tokens, 301, "!"), "\"!\" for both 0 and 301"),
        (tokens, changed(tokens, 0, "!!!"), "a token for each byte"),
        (
            "tokenizer.ggml.token_type",
            Some(Value::Array(Array::Int(vec![6; 512]))),
            "6 for token 0",
        ),
        (merges, None, "is missing"),
        (merges, changed(merges, 7, "nospace"), "\"nospace\" as number 7"),
        (merges, changed(merges, 8, "! #"), "\"! #\" as number 8"),
        (merges, changed(merges, 9, "<|im_start|> a"), "as number 9"),
        ("tokenizer.ggml.eos_token_id", Some(Value::Int(512)), "one of the 512 tokens"),
        ("tokenizer.ggml.eos_token_id", text("</s>"), "should be an integer"),
        ("tokenizer.ggml.bos_token_id", Some(Value::Int(4_000_000)), "one of the 512 tokens"),
    ];
    for (key, value, expected) in cases {
        let shown = format!("{value:?}");
        let error = with(key, value).expect_err(&format!("{key}: {shown:.80}")).to_string();
        assert!(error.contains(expected) && error.contains("changed.gguf"), "{key}: {error}");
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn the_bos_token_is_prepended_if_the_file_requests_it() {
    let add_bos = || Some(Value::Bool(true));
    let tokenizer = with("tokenizer.ggml.add_bos_token", add_bos()).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), [503, 64]);
    let template = ChatTemplate::new("a", &tokenizer).unwrap();
    let prompt = template.render::<engine::Message>(&[], &Default::default()).unwrap();
    assert_eq!(tokenizer.encode_prompt(&prompt).unwrap(), [64]);

    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    let file = rewritten(&file, "tokenizer.ggml.bos_token_id", None);
    let file = rewritten(&file, "tokenizer.ggml.add_bos_token", add_bos());
    let error = Tokenizer::from_gguf(&file).unwrap_err().to_string();
    assert!(error.contains("bos_token_id"), "{error}");
}

#[test]
fn end_tokens_are_derived_from_keys_and_token_texts() {
    let tokenizer = with("tokenizer.ggml.eos_token_id", None).unwrap();
    assert_eq!(tokenizer.ends(), [503, 505]);
    let tokenizer = with("tokenizer.ggml.eot_token_id", Some(Value::Int(507))).unwrap();
    assert_eq!(tokenizer.ends(), [503, 505, 507]);
}

#[test]
fn an_invalid_template_is_a_load_error() {
    let file = GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap();
    let broken = Value::String("{% for m in messages %}".into());
    let file = rewritten(&file, "tokenizer.chat_template", Some(broken));
    let error = ChatTemplate::from_gguf(&file, &tiny()).unwrap_err().to_string();
    assert!(error.contains("chat_template") && error.contains("line 1"), "{error}");
}
