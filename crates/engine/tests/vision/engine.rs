//! An engine with a projector: requests that carry images.

use std::path::Path;

use chat::{Message, Part, Role};
use engine::injected::InjectedRows;
use engine::vision::EncoderOptions;
use engine::vision::positions::offsets;
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Image, Patches, PixelRange, Precision, ResizedImage, Tower, resample};
use engine::{
    Engine, EngineOptions, GenerateError, Input, LoadError, ModelFile, Progress, Request, Survey,
};
use tempfile::TempDir;

use super::folder;
use super::projector::Projector;

const PAD: u32 = 260;
/// Images of 2 to 12 tokens of 8 × 8 pixels.
const RANGE: PixelRange = PixelRange { min: 2 * 64, max: 12 * 64 };

/// Writes a text model, with the projector of a model beside it.
pub(super) fn model(name: &str, projector: Option<&str>) -> (TempDir, ModelFile) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.gguf");
    std::fs::copy(folder().join(name).join("text.gguf"), &path).unwrap();
    if let Some(projector) = projector {
        Projector::of(projector).write(&temporary.path().join("mmproj-F16.gguf"));
    }
    (temporary, ModelFile::Path(path))
}

pub(super) fn options() -> EngineOptions {
    EngineOptions { kv_tokens: Some(4096), max_batch: 4, ..EngineOptions::default() }
}

pub(super) fn picture(width: u32, height: u32, seed: u32) -> Image {
    let rgb = (0..width * height * 3).map(|n| (n.wrapping_mul(seed * 2 + 41) >> 3) as u8).collect();
    Image { width, height, rgb }
}

fn resize(engine: &Engine, image: &Image, range: PixelRange) -> ResizedImage {
    engine.resize_image(image, Some(range.min), Some(range.max)).unwrap()
}

fn request<'a>(engine: &Engine, images: impl IntoIterator<Item = &'a Image>) -> Request {
    let mut tokens: Vec<u32> = (0..40).collect();
    let mut inputs = Vec::new();
    for image in images {
        tokens.extend([262, PAD, 263, 70, 71]);
        inputs.push(resize(engine, image, RANGE).into());
    }
    let prompt = Box::new(Input::Tokens(tokens));
    Request::greedy(Input::Images { prompt, images: inputs }, 12)
}

/// Returns the text of an answer, and the numbers of prompt tokens and of cached ones.
pub(super) fn answer(engine: &Engine, request: &Request) -> (String, usize, usize) {
    let mut generation = engine.submit(request).unwrap();
    let mut answer = String::new();
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text, .. } => answer.push_str(&text),
            Progress::Finished(end) => return (answer, end.prompt_tokens, end.cached_tokens),
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

#[test]
fn images_are_encoded_once_and_answer_as_their_rows_do() {
    for name in ["qwen2vl", "qwen3vl", "qwen3.5"] {
        let (temporary, file) = model(name, Some(name));
        let engine = Engine::start(&file, &options()).unwrap();
        let (one, other) = (picture(40, 20, 1), picture(40, 20, 2));
        let (first, tokens, cached) = answer(&engine, &request(&engine, [&one]));
        assert_eq!(cached, 0);
        assert_eq!(engine.images(), Some((1, 0)));
        // 20 × 40 pixels are 2 × 5 tokens, since halves are rounded to even.
        assert_eq!(tokens, 40 + 5 + 9);

        let by_hand = by_hand(&temporary.path().join("mmproj-F16.gguf"), &one);
        assert_eq!(answer(&engine, &by_hand).0, first, "{name}");

        let (again, _, cached) = answer(&engine, &request(&engine, [&one]));
        assert_eq!((&again, cached), (&first, 32));
        assert_eq!(engine.images(), Some((1, 1)));

        // The same words with another image share the page before it only.
        let (different, _, cached) = answer(&engine, &request(&engine, [&other]));
        assert_eq!(cached, 32);
        assert_eq!(engine.images(), Some((2, 1)));
        let both = answer(&engine, &request(&engine, [&one, &other])).0;
        let swapped = answer(&engine, &request(&engine, [&other, &one])).0;
        assert!(different != first || both != swapped, "{name}: images change nothing");
        assert_eq!(engine.images(), Some((2, 5)));
        let small = engine.count_prompt(&request(&engine, [&picture(8, 8, 3)])).unwrap();
        assert_eq!(small, 40 + 5 + 3, "at least two tokens: 2 × 2");
    }
}

/// Encodes an image without an engine.
fn by_hand(projector: &Path, image: &Image) -> Request {
    let tower = Tower::load(projector, Precision::EightBit).unwrap();
    let patches = Patches::new(&[&resample::resize(image, 40, 16)], tower.spec());
    let encoded = tower.encode(&patches, &mut TowerWorkspace::default()).unwrap();
    let positions = offsets(patches.grid, 2, 1.0);
    let mut tokens: Vec<u32> = (0..40).collect();
    tokens.push(262);
    tokens.extend(std::iter::repeat_n(PAD, positions.len()));
    tokens.extend([263, 70, 71]);
    let rows = InjectedRows {
        start: 41,
        positions,
        values: encoded.rows.into(),
        added: encoded.deepstack.concat().into(),
        hash: [9; 32],
    };
    Request::greedy(Input::Injected { tokens, rows: vec![rows] }, 12)
}

#[test]
fn unusable_images_and_prompts_are_refused() {
    let (_temporary, file) = model("qwen3vl", Some("qwen3vl"));
    let engine = Engine::start(&file, &options()).unwrap();
    let refused = |request: Request| engine.submit(&request).map(drop).unwrap_err();
    let image = picture(40, 20, 1);
    let small = || vec![resize(&engine, &image, RANGE).into()];
    let large = || vec![engine.resize_image(&image, None, None).unwrap().into()];
    let images = |tokens: &[u32], images| {
        let prompt = Box::new(Input::Tokens(tokens.to_vec()));
        Request::greedy(Input::Images { prompt, images }, 4)
    };
    let error = refused(images(&[1, 2], large()));
    assert!(error.to_string().contains("0 tokens for images"), "{error}");
    let error = refused(images(&[1, 261], small()));
    assert!(error.to_string().contains("the token of a video"), "{error}");
    let error = engine.resize_image(&image, Some(9), Some(8)).unwrap_err();
    assert!(error.to_string().contains("max_pixels must be at least 64"), "{error}");
    let error = engine.resize_image(&picture(1, 300, 1), None, None).unwrap_err();
    assert!(error.to_string().contains("at most 200 times"), "{error}");
    // Without a range, the smallest image of this tower fills more than the context.
    let error = refused(images(&[1, PAD], large()));
    assert!(matches!(error, GenerateError::ContextLengthExceeded { .. }), "{error}");
    assert_eq!(engine.images(), Some((0, 0)), "nothing was encoded");
}

#[test]
fn projectors_must_fit_the_model() {
    let (_blind, file) = model("qwen3vl", None);
    let engine = Engine::start(&file, &options()).unwrap();
    assert_eq!(engine.images(), None);
    let error = engine.resize_image(&picture(40, 20, 1), None, None).unwrap_err();
    assert!(error.to_string().contains("start it with its projector"), "{error}");

    // One that happens to be in the folder is ignored, with a warning.
    let (temporary, file) = model("qwen2vl", Some("qwen3vl"));
    assert_eq!(Engine::start(&file, &options()).unwrap().images(), None);
    let projector = Some(temporary.path().join("mmproj-F16.gguf"));
    let named = EngineOptions { projector, ..options() };
    for error in [
        Engine::start(&file, &named).map(drop).unwrap_err(),
        Survey::of(&file, &named).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, LoadError::Unsupported { .. }));
        assert!(error.to_string().contains("take the projector that was published"), "{error}");
    }
    // One that is named comes first.
    let named = temporary.path().join("right.gguf");
    Projector::of("qwen2vl").write(&named);
    let options = EngineOptions { projector: Some(named), ..options() };
    assert_eq!(Engine::start(&file, &options).unwrap().images(), Some((0, 0)));
    let text = folder().join("../qwen3/qwen3-f32.gguf");
    let error = Engine::start(&ModelFile::Path(text), &options).map(drop).unwrap_err();
    assert!(error.to_string().contains("no positions for images"), "{error}");
}

fn part(blob: bool, text: &str) -> Part {
    match blob {
        true => Part::Image { blob: "b".into() },
        false => Part::Text { text: text.into() },
    }
}

/// A conversation of one message, in which `@` stands for an image.
fn conversation(text: &str) -> Input {
    let texts = text.split('@').enumerate();
    let parts = texts.flat_map(|(index, text)| {
        let image = (index > 0).then(|| part(true, ""));
        image.into_iter().chain(Some(part(false, text)))
    });
    Input::Chat(vec![Message { role: Role::User, parts: parts.collect(), name: None }])
}

#[test]
fn conversations_and_texts_have_images_in_their_places() {
    let (_temporary, file) = model("qwen2vl", Some("qwen2vl"));
    let engine = Engine::start(&file, &options()).unwrap();
    let (one, other) = (picture(40, 20, 1), picture(24, 24, 2));
    let resized = |image: &Image| resize(&engine, image, RANGE);
    let ask = |prompt: Input, images: &[&Image]| {
        let images = images.iter().map(|image| resized(image).into()).collect();
        Request::greedy(Input::Images { prompt: Box::new(prompt), images }, 24)
    };
    const PLACE: &str = "<|vision_start|><|image_pad|><|vision_end|>";
    let by_chat = ask(conversation("a@b@c"), &[&one, &other]);
    let text = format!("<|im_start|>user\na{PLACE}b{PLACE}c<|im_end|>\n<|im_start|>assistant\n");
    let by_text = ask(Input::Text(text.clone()), &[&one, &other]);
    let tokens = engine.tokenizer().encode(&text).unwrap();
    let by_tokens = ask(Input::Tokens(tokens.clone()), &[&one, &other]);
    let (first, length, _) = answer(&engine, &by_chat);
    // 2 × 5 and 3 × 3 tokens in the place of two.
    assert_eq!(length, tokens.len() - 2 + 10 + 9);
    assert_eq!(answer(&engine, &by_text).0, first);
    assert_eq!(answer(&engine, &by_tokens).0, first);
    assert_eq!(engine.count_prompt(&by_chat).unwrap(), length);
    let swapped = answer(&engine, &ask(conversation("a@b@c"), &[&other, &one])).0;
    let moved = answer(&engine, &ask(conversation("ab@@c"), &[&one, &other])).0;
    assert!(swapped != first && moved != first, "{first:?} {swapped:?} {moved:?}");

    // Text in a message is no image, whatever it says.
    let forged = ask(conversation("<|image_pad|>@"), &[&one]);
    let plain = ask(conversation("@"), &[&one]);
    let letters = "<|image_pad|>".len();
    let count = |request| engine.count_prompt(request).unwrap();
    assert_eq!(count(&forged), count(&plain) + letters);
    let refused = |request: &Request| engine.submit(request).map(drop).unwrap_err().to_string();
    for (request, problem) in [
        (ask(conversation("a@b"), &[]), "1 images, the request has 0"),
        (Request::greedy(conversation("a@b"), 4), "1 images, the request has 0"),
        (ask(conversation("<|image_pad|>"), &[&one]), "0 images, the request has 1"),
        (Request::greedy(Input::Text(text.clone()), 4), "2 tokens for images"),
        (ask(Input::Text(text), &[&one]), "2 tokens for images and videos, the request has 1"),
        (Request::greedy(Input::Tokens(vec![1, PAD]), 4), "1 tokens for images"),
    ] {
        let error = refused(&request);
        assert!(error.contains(problem), "{error}");
    }
    let elsewhere = EngineOptions {
        images: EncoderOptions { max_tokens: 4, ..EncoderOptions::default() },
        ..options()
    };
    let elsewhere = Engine::start(&file, &elsewhere).unwrap();
    let error = elsewhere.submit(&by_chat).map(drop).unwrap_err().to_string();
    assert!(error.contains("resized for another model"), "{error}");
}

#[test]
fn models_that_see_nothing_say_so_by_name() {
    let (_temporary, file) = model("qwen2vl", None);
    let engine = Engine::start(&file, &options()).unwrap();
    let error = engine.submit(&Request::greedy(conversation("a@b"), 4)).map(drop).unwrap_err();
    assert!(matches!(error, GenerateError::InvalidRequest(_)));
    assert!(error.to_string().contains("the model qwen2vl takes no images"), "{error}");
}

#[test]
fn prompts_that_are_given_up_are_not_submitted() {
    let (_temporary, file) = model("qwen2vl", Some("qwen2vl"));
    let engine = Engine::start(&file, &options()).unwrap();
    let given_up = engine.submit_unless(&request(&engine, [&picture(40, 20, 1)]), &|| true);
    // Unless it was encoded before the first look.
    assert!(matches!(given_up, Err(GenerateError::GivenUp)) || given_up.is_ok());
}
