//! Translates `tokenizer.json` and the files around it to GGUF's metadata.
//!
//! Tokens, merges and the template are checked in the same place as those of a GGUF file, in
//! [`Vocabulary`](crate::text::Vocabulary) and [`ChatTemplate`](crate::text::ChatTemplate).

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::SafetensorsError;
use super::config::Facts;
use super::json::{self, Object};
use crate::LoadError;
use crate::gguf::{Array, Metadata, Value};
use crate::sample::RECOMMENDED;
use crate::text::pre_tokenizer::Family;
use crate::text::vocabulary::END_IDS;

const FILE: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const GENERATION: &str = "generation_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// The template of a model that sees, as older versions of transformers saved it.
const PROCESSOR_TEMPLATE: &str = "chat_template.json";

/// The tokenizer's files, and whether each is required.
pub(crate) const FILES: [(&str, bool); 5] = [
    (FILE, true),
    (CONFIG, false),
    (GENERATION, false),
    (TEMPLATE, false),
    (PROCESSOR_TEMPLATE, false),
];

/// The fields of `tokenizer.json` that are used.
#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    pre_tokenizer: Json,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Json,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// A merge. Older files have both tokens in one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// Translates the tokenizer and the chat template.
pub(super) fn read(
    folder: &Path,
    config: &Object,
    facts: &Facts,
    metadata: &mut Metadata,
) -> Result<(), LoadError> {
    let label = metadata.label().to_owned();
    let damaged = |problem| super::damaged(&label, problem);
    let tokenizer: Tokenizer = json::read(folder, FILE).map_err(damaged)?.ok_or_else(|| {
        damaged(SafetensorsError::MissingFile {
            name: FILE.to_owned(),
            needed: "beside the weights; get it from where they come from".to_owned(),
        })
    })?;
    let family = check(&tokenizer)
        .map_err(|problem| metadata.unsupported(format!("its tokenizer ({FILE}): {problem}")))?;
    let (tokens, kinds) = tokens(&tokenizer, facts.vocab).map_err(damaged)?;
    let ids: HashMap<&str, u32> =
        (0..).zip(&tokens).map(|(id, text)| (text.as_str(), id)).collect();
    let merges = tokenizer.model.merges.into_iter().map(|merge| match merge {
        Merge::Line(line) => line,
        Merge::Pair(left, right) => format!("{left} {right}"),
    });

    let settings = Object::read(folder, CONFIG).map_err(damaged)?;
    let generation = Object::read(folder, GENERATION).map_err(damaged)?;
    let mut ends = Vec::new();
    for object in generation.iter().chain([config]) {
        ends.extend(end_ids(object).map_err(damaged)?);
    }
    let mut values = vec![
        ("model", Value::String("gpt2".into()), FILE),
        ("pre", Value::String(family.name().into()), FILE),
        ("merges", Value::Array(Array::String(merges.collect())), "the merges of tokenizer.json"),
    ];
    if let Some(settings) = &settings {
        for (key, name) in [("eos_token_id", "eos_token"), ("bos_token_id", "bos_token")] {
            let Some(text) = token_text(settings, name).map_err(damaged)? else { continue };
            let Some(id) = ids.get(text.as_str()) else {
                let expected = format!("a token of {FILE}");
                return Err(damaged(settings.wrong(name, expected, &Json::from(text))));
            };
            values.push((key, Value::Int((*id).into()), CONFIG));
        }
        if let Some(add) = settings.flag("add_bos_token").map_err(damaged)? {
            values.push(("add_bos_token", Value::Bool(add), CONFIG));
        }
    }
    drop(ids);
    values.push((
        "tokens",
        Value::Array(Array::String(tokens)),
        "the vocabulary of tokenizer.json",
    ));
    values.push(("token_type", Value::Array(Array::Int(kinds)), FILE));
    for (key, value, origin) in values {
        metadata.insert(&format!("tokenizer.ggml.{key}"), value, origin);
    }
    metadata.insert(END_IDS, Value::Array(Array::Int(ends)), "eos_token_id");
    if let Some(generation) = &generation {
        sampling(generation, metadata);
    }
    let template = match facts.sees {
        true => processor_template(folder).map_err(damaged)?,
        false => None,
    };
    let template = match template {
        Some(template) => Some(template),
        None => template_of(folder, settings.as_ref()).map_err(damaged)?,
    };
    if let Some(template) = template {
        metadata.insert("tokenizer.chat_template", Value::String(template), "the chat template");
    }
    Ok(())
}

/// Translates the sampling parameters of `generation_config.json` to GGUF's metadata.
fn sampling(generation: &Object, metadata: &mut Metadata) {
    let mut set = |name: &str, origin: &str, value: Value| {
        metadata.insert(
            &format!("{RECOMMENDED}{name}"),
            value,
            format!("{origin} of {GENERATION}"),
        );
    };
    let mut names =
        vec![("temp", "temperature"), ("top_p", "top_p"), ("top_k", "top_k"), ("min_p", "min_p")];
    // As in transformers, decoding is greedy then, whatever else is set.
    if generation.get("do_sample") == Some(&Json::Bool(false)) {
        set("temp", "do_sample", Value::Int(0));
        names.clear();
    }
    names.push(("penalty_repeat", "repetition_penalty"));
    for (ours, theirs) in names {
        let Some(value) = generation.get(theirs) else { continue };
        let value = match (value.as_i64(), value.as_f64()) {
            (Some(whole), _) => Value::Int(whole.into()),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::String(value.to_string()),
        };
        set(ours, theirs, value);
    }
}

/// Checks that the tokenizer splits text as one of the supported families does, and returns that family.
fn check(tokenizer: &Tokenizer) -> Result<Family, String> {
    let model = &tokenizer.model;
    if model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        return Err(format!("its type is {:?}; supported is \"BPE\"", model.kind));
    }
    if model.byte_fallback || model.ignore_merges {
        return Err("it has byte_fallback or ignore_merges; supported is byte-level BPE".into());
    }
    for AddedToken { content, lstrip, rstrip, single_word, .. } in &tokenizer.added_tokens {
        if *lstrip || *rstrip || *single_word {
            return Err(format!(
                "the added token {content:?} takes the spaces around it (lstrip, rstrip) or whole \
                 words (single_word); supported are tokens that do neither"
            ));
        }
    }
    let steps = match &tokenizer.pre_tokenizer {
        Json::Object(one) if one.contains_key("pretokenizers") => one["pretokenizers"].as_array(),
        _ => None,
    };
    let pattern =
        steps.into_iter().flatten().find_map(|step| step.get("pattern")?.get("Regex")?.as_str());
    pattern.and_then(Family::from_pattern).ok_or_else(|| {
        format!(
            "it splits words by the pattern {:?}; supported are those of {}",
            pattern.unwrap_or("(none)"),
            Family::NAMES.join(" and ")
        )
    })
}

/// Returns texts and kinds by id; unused ids fill up the vocabulary.
fn tokens(
    tokenizer: &Tokenizer,
    vocab: usize,
) -> Result<(Vec<String>, Vec<i64>), SafetensorsError> {
    let wrong = |key: &str, expected: String, found: String| SafetensorsError::WrongValue {
        name: FILE,
        key: key.to_owned(),
        expected,
        found,
    };
    let Some(known) = tokenizer.model.vocab.as_object() else {
        let found = "something else".to_owned();
        return Err(wrong("model.vocab", "an object of tokens and ids".to_owned(), found));
    };
    const LARGEST: usize = 1 << 22;
    if vocab > LARGEST {
        return Err(SafetensorsError::WrongValue {
            name: super::CONFIG,
            key: "vocab_size".to_owned(),
            expected: format!("from 1 to {LARGEST}"),
            found: vocab.to_string(),
        });
    }
    let mut tokens: Vec<String> = (0..vocab).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![5; vocab];
    let mut put = |key: &str, id: Option<usize>, text: &str, kind: i64| {
        let Some(id) = id.filter(|id| *id < vocab) else {
            let expected = format!("ids below the vocab_size of {}, {vocab}", super::CONFIG);
            return Err(wrong(key, expected, format!("another for {text:?}")));
        };
        text.clone_into(&mut tokens[id]);
        kinds[id] = kind;
        Ok(())
    };
    for (text, id) in known {
        put("model.vocab", id.as_u64().and_then(|id| id.try_into().ok()), text, 1)?;
    }
    for added in &tokenizer.added_tokens {
        // 3: a control token, never shown; 4: matched like those, but shown.
        let kind = if added.special { 3 } else { 4 };
        put("added_tokens", Some(added.id), &added.content, kind)?;
    }
    Ok((tokens, kinds))
}

/// Reads `eos_token_id`: a number, several, or none.
fn end_ids(object: &Object) -> Result<Vec<i64>, SafetensorsError> {
    let key = "eos_token_id";
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    let ids = match value {
        Json::Array(ids) => ids.iter().map(Json::as_i64).collect(),
        one => one.as_i64().map(|id| vec![id]),
    };
    ids.ok_or_else(|| object.wrong(key, "a token's id or a list of them", value))
}

/// Reads a token of `tokenizer_config.json`: a text, or an object with it.
fn token_text(settings: &Object, key: &str) -> Result<Option<String>, SafetensorsError> {
    let Some(value) = settings.get(key) else { return Ok(None) };
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| settings.wrong(key, "a text or an object with \"content\"", value))
}

/// Reads the chat template of a model that sees, if it has a file of its own. It has precedence, as in transformers: the
/// tokenizer's may know nothing of images.
fn processor_template(folder: &Path) -> Result<Option<String>, SafetensorsError> {
    let Some(file) = Object::read(folder, PROCESSOR_TEMPLATE)? else { return Ok(None) };
    Ok(file.text("chat_template")?.map(str::to_owned))
}

/// Reads the chat template: a separate file has precedence over `tokenizer_config.json`, and of several
/// templates the one called `default` is used.
fn template_of(
    folder: &Path,
    settings: Option<&Object>,
) -> Result<Option<String>, SafetensorsError> {
    if let Some(template) = json::text(folder, TEMPLATE)? {
        return Ok(Some(template));
    }
    let key = "chat_template";
    let Some((settings, value)) = settings.and_then(|all| Some((all, all.get(key)?))) else {
        return Ok(None);
    };
    let named_default = |one: &&Json| one.get("name").is_some_and(|name| name == "default");
    let text = match value {
        Json::Array(all) => {
            all.iter().find(named_default).and_then(|one| one.get("template")?.as_str())
        }
        one => one.as_str(),
    };
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| settings.wrong(key, "a text, or a list with one named \"default\"", value))
}
