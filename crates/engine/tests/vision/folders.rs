//! Whole models as folders of safetensors: the fixtures' `tensors.json` has the names and shapes that transformers gives
//! to the tensors of the same models.

use std::collections::BTreeMap;

use chat::{Message, Part, Role};
use engine::model::Decoder;
use engine::source::{SourceOptions, resolve};
use engine::{Engine, Input, LoadError, ModelFile, Quantization, Request, Survey};
use serde_json::{Map, Value, json};

use super::engine::{answer, model, options, picture};
use super::folder;
use super::towers::TOWERS;
use super::whole::{MODELS, Whole, turn, widen};

/// A change to a model.
type Change = Box<dyn Fn(&mut Whole)>;

/// Returns the error for a model that must be refused, before its weights are read.
fn refused(whole: &Whole) -> String {
    whole.write();
    let survey = Survey::of(&whole.file(Quantization::None), &options());
    let error = survey.map(drop).unwrap_err();
    assert!(matches!(error, LoadError::Unsupported { .. } | LoadError::Damaged { .. }));
    error.to_string()
}

#[test]
fn tensors_have_the_names_and_shapes_that_transformers_gives_them() {
    for name in MODELS {
        let text = std::fs::read_to_string(folder().join(name).join("tensors.json")).unwrap();
        let expected: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).unwrap();
        let ours = Whole::of(name).tensors.into_iter().map(|(name, tensor)| (name, tensor.shape));
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), expected, "{name}");
    }
}

#[test]
fn configs_and_tokens_equal_those_of_the_gguf_file() {
    for name in MODELS {
        let theirs = ModelFile::Path(folder().join(name).join("text.gguf")).open().unwrap();
        let ours = Whole::of(name).open();
        assert_eq!(ours.config().unwrap(), theirs.config().unwrap(), "{name}");
        let (ours, theirs) = (ours.tokenizer().unwrap(), theirs.tokenizer().unwrap());
        let text = "<|im_start|>a t<|vision_start|><|image_pad|><|vision_end|>";
        assert_eq!(ours.encode(text).unwrap(), theirs.encode(text).unwrap());
        assert!(ours.ends().contains(&258) && theirs.ends().contains(&258), "<|im_end|>");
    }
}

/// The configs of the first models have the text model's keys beside the tower's, others in both places.
#[test]
fn flat_configs_and_names_with_any_prefix_are_read() {
    for name in MODELS {
        let mut whole = Whole::of(name);
        let expected = whole.open().config().unwrap();
        let text = whole.config["text_config"].as_object().unwrap().clone();
        for (key, value) in &text {
            if key != "model_type" && key != "tie_word_embeddings" {
                whole.config.insert(key.clone(), value.clone());
            }
        }
        whole.config.remove("text_config").unwrap();
        let parameters = whole.config.remove("rope_parameters").unwrap();
        whole.config.insert("rope_theta".into(), parameters["rope_theta"].clone());
        let mut scaling = json!({"type": "mrope", "mrope_section": parameters["mrope_section"]});
        if name.starts_with("qwen3") {
            scaling["rope_type"] = "default".into();
            scaling["mrope_interleaved"] = true.into();
        }
        whole.config.insert("rope_scaling".into(), scaling);
        whole.config.insert("vision_token_id".into(), 259.into());
        whole.write();
        assert_eq!(whole.open().config().unwrap(), expected, "{name}");

        let both: Map<String, Value> =
            [("image_token_id".to_owned(), Value::Null)].into_iter().chain(text).collect();
        whole.config.insert("text_config".into(), both.into());
        whole.config.insert("hidden_size".into(), 7.into());
        whole.rename(|name| match name.split_once('.').unwrap() {
            ("lm_head", rest) => format!("language_model.lm_head.{rest}"),
            ("visual", rest) => format!("visual.{rest}"),
            (_, rest) if rest.starts_with("visual.") => rest.to_owned(),
            (_, rest) => {
                format!("language_model.model.{}", rest.trim_start_matches("language_model."))
            }
        });
        whole.write();
        let again = whole.open();
        assert_eq!(again.config().unwrap(), expected, "{name}");
        Decoder::load(&again).unwrap();
        let engine = Engine::start(&whole.file(Quantization::None), &options()).unwrap();
        assert_eq!(engine.images(), Some((0, 0)), "{name}");
    }
}

/// Versions of transformers write the flag in other places; where they disagree the files decide.
#[test]
fn heads_are_tied_as_the_config_or_the_files_say() {
    let (yes, no) = (Some(true), Some(false));
    for (whole, text, head, tied) in [
        (yes, None, false, true),
        (yes, no, false, true),
        (None, yes, false, true),
        (no, yes, false, true),
        (no, yes, true, false),
        (no, None, true, false),
        (None, None, false, true),
        (None, None, true, false),
    ] {
        let mut model = Whole::of("qwen2vl");
        model.config.remove("tie_word_embeddings");
        for (place, flag) in [(None, whole), (Some("text_config"), text)] {
            let Some(flag) = flag else { continue };
            let config = match place {
                None => &mut model.config,
                Some(part) => model.config[part].as_object_mut().unwrap(),
            };
            config.insert("tie_word_embeddings".into(), flag.into());
        }
        if !head {
            model.tensors.remove("lm_head.weight").unwrap();
        }
        model.write();
        let opened = model.open();
        Decoder::load(&opened).unwrap();
        let embedding = opened.embedding_bytes();
        let all = model.tensors.iter().filter(|(name, _)| !name.starts_with("visual."));
        let all: usize = all.map(|(_, tensor)| tensor.shape.iter().product::<usize>()).sum();
        // An embedding that is not the head takes no memory. It is stored in 16 bits.
        let expected = 4 * all - if tied { 0 } else { 2 * embedding };
        assert_eq!(opened.weight_bytes(), expected, "{whole:?} {text:?} {head}");
    }
}

/// The published files have the experts' matrices turned.
#[test]
fn turned_experts_are_the_same_model() {
    for quantization in [Quantization::None, Quantization::EightBit] {
        let mut whole = Whole::of("qwen3vlmoe");
        let (one, bytes) = {
            let engine = Engine::start(&whole.file(quantization), &options()).unwrap();
            (answer(&engine, &request(&engine)), engine.memory().weights)
        };
        for change in [turn, widen] {
            let experts = whole.tensors.iter_mut().filter(|(name, _)| name.contains(".experts."));
            experts.for_each(|(_, tensor)| change(tensor));
            whole.write();
            let engine = Engine::start(&whole.file(quantization), &options()).unwrap();
            assert_eq!(answer(&engine, &request(&engine)), one);
            assert_eq!(engine.memory().weights, bytes);
        }
    }
}

fn message(parts: Vec<Part>) -> Input {
    Input::Chat(vec![Message { role: Role::User, parts, name: None }])
}

/// A message of text, a picture, text, another picture and text.
fn request(engine: &Engine) -> Request {
    let text = |text: &str| Part::Text { text: text.into() };
    let image = || Part::Image { blob: "b".into() };
    let parts = vec![text("see"), image(), text("and "), image(), text("tell")];
    let images = [picture(40, 20, 1), picture(24, 24, 2)];
    let images = images
        .iter()
        .map(|one| engine.resize_image(one, Some(2 * 64), Some(12 * 64)).unwrap().into());
    let images = images.collect();
    Request::greedy(Input::Images { prompt: Box::new(message(parts)), images }, 48)
}

/// A model in safetensors sees without a projector, and answers as the GGUF files of the same model.
#[test]
fn engines_see_and_answer_as_with_gguf_and_projector() {
    for name in TOWERS {
        let (_temporary, gguf) = model(name, Some(name));
        let gguf = Engine::start(&gguf, &options()).unwrap();
        let whole = Whole::of(name);
        // As `MODEL_NAME` names it.
        let unquantized = SourceOptions {
            quantization: Some(Quantization::None),
            offline: true,
            ..SourceOptions::default()
        };
        let file = resolve(whole.path().to_str().unwrap(), &unquantized).unwrap();
        let engine = Engine::start(&file, &options()).unwrap();
        assert_eq!(engine.images(), Some((0, 0)), "{name}");
        let expected = answer(&gguf, &request(&gguf));
        assert_eq!(answer(&engine, &request(&engine)), expected, "{name}");
        assert_eq!(engine.images(), Some((2, 0)), "{name}");
        for quantization in [Quantization::EightBit, Quantization::FourBit] {
            let file = whole.file(quantization);
            let engine = Engine::start(&file, &options()).unwrap();
            let (_, tokens, _) = answer(&engine, &request(&engine));
            assert_eq!(tokens, expected.1, "{name}");
            let weights = engine.memory().weights;
            assert!(Survey::of(&file, &options()).unwrap().fixed > weights, "{name}");
        }
    }
}

#[test]
fn chat_templates_of_processors_come_first() {
    let whole = Whole::of("qwen2vl");
    let put = |name: &str, text: &str| std::fs::write(whole.path().join(name), text).unwrap();
    put("tokenizer_config.json", r#"{"chat_template": "text"}"#);
    put("chat_template.json", r#"{"chat_template": "seeing"}"#);
    let engine = Engine::start(&whole.file(Quantization::None), &options()).unwrap();
    let hello = message(vec![Part::Text { text: "x".into() }]);
    let prompt = engine.count_prompt(&Request::greedy(hello, 1)).unwrap();
    assert_eq!(prompt, "seeing".len());
}

#[test]
fn models_that_cannot_see_are_refused_or_answer_text_only() {
    let whole = |change: &dyn Fn(&mut Whole)| {
        let mut whole = Whole::of("qwen3vl");
        change(&mut whole);
        whole
    };
    let without_tower = whole(&|whole| whole.tensors.retain(|name, _| !name.contains("visual")));
    without_tower.write();
    let file = without_tower.file(Quantization::None);
    assert_eq!(Engine::start(&file, &options()).unwrap().images(), None);

    let text = |key: &'static str, value: Value| {
        move |whole: &mut Whole| whole.config["text_config"][key] = value.clone()
    };
    let remove =
        |name: &'static str| move |whole: &mut Whole| drop(whole.tensors.remove(name).unwrap());
    let unknown = |whole: &mut Whole| {
        let norm = whole.tensors["model.language_model.norm.weight"].clone();
        whole.tensors.insert("model.audio.norm.weight".into(), norm);
    };
    let shallow = |whole: &mut Whole| {
        whole.config["vision_config"]["deepstack_visual_indexes"] = json!([0, 9]);
    };
    let text_only = |whole: &mut Whole| {
        whole.config["architectures"] = json!(["Qwen3ForCausalLM"]);
    };
    let cases: [(Change, &str); 9] = [
        (Box::new(text("rope_parameters", json!({"rope_theta": 1e4}))), "mrope_section"),
        (Box::new(text("hidden_act", json!("gelu"))), "hidden_act of config.json is \"gelu\""),
        (Box::new(text("strange", json!(1))), "strange of config.json is 1"),
        (
            Box::new(|whole| drop(whole.config.insert("text_config".into(), json!(3)))),
            "text_config",
        ),
        (
            Box::new(|whole| drop(whole.config.insert("model_type".into(), json!("qwen9_vl")))),
            "supported are qwen2, qwen2_moe, qwen3, qwen3_moe, qwen2_vl, qwen2_5_vl, qwen3_vl, qwen3_vl_moe",
        ),
        (
            Box::new(remove("model.language_model.layers.1.mlp.up_proj.weight")),
            "\"model.language_model.layers.1.mlp.up_proj.weight\" is missing",
        ),
        (Box::new(unknown), "\"model.audio.norm.weight\""),
        (Box::new(shallow), "DeepStack"),
        (Box::new(text_only), "supported are Qwen2VLForConditionalGeneration"),
    ];
    for (change, said) in cases {
        let error = refused(&whole(&change));
        assert!(error.contains(said), "{said}: {error}");
    }
    let damaged = whole(&remove("model.visual.merger.norm.weight"));
    damaged.write();
    let started = Engine::start(&damaged.file(Quantization::None), &options());
    let error = started.map(drop).unwrap_err().to_string();
    assert!(error.contains("model.visual.merger.norm.weight"), "{error}");
}

#[test]
fn experts_of_other_numbers_are_refused() {
    let mut whole = Whole::of("qwen3vlmoe");
    let name = "model.language_model.layers.0.mlp.experts.down_proj";
    let mut tensor = whole.tensors[name].clone();
    let len = tensor.data.len() / tensor.shape[0];
    tensor.shape[0] += 1;
    tensor.data.extend(vec![0; len]);
    whole.tensors.insert(name.to_owned(), tensor);
    let error = refused(&whole);
    assert!(error.contains(name) && error.contains("[4, 32, 24]"), "{error}");
}
