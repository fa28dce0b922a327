//! An engine with a projector: requests that carry images.

use std::path::Path;
use std::sync::Arc;

use engine::injected::InjectedRows;
use engine::vision::positions::offsets;
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Image, Patches, PixelRange, Precision, Tower, resample::resize};
use engine::{
    Engine, EngineOptions, GenerateError, ImageInput, Input, LoadError, ModelFile, Progress,
    Request, Survey,
};
use tempfile::TempDir;

use super::folder;
use super::projector::Projector;

const PAD: u32 = 260;
/// Images of 2 to 12 tokens of 8 × 8 pixels.
const RANGE: PixelRange = PixelRange { min: 2 * 64, max: 12 * 64 };

/// Writes a text model, with the projector of a model beside it.
fn model(name: &str, projector: Option<&str>) -> (TempDir, ModelFile) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.gguf");
    std::fs::copy(folder().join(name).join("text.gguf"), &path).unwrap();
    if let Some(projector) = projector {
        Projector::of(projector).write(&temporary.path().join("mmproj-F16.gguf"));
    }
    (temporary, ModelFile::Path(path))
}

fn options() -> EngineOptions {
    EngineOptions { kv_tokens: Some(4096), max_batch: 4, ..EngineOptions::default() }
}

fn picture(width: u32, height: u32, seed: u32) -> Arc<Image> {
    let rgb = (0..width * height * 3).map(|n| (n.wrapping_mul(seed * 2 + 41) >> 3) as u8).collect();
    Arc::new(Image { width, height, rgb })
}

fn request<'a>(images: impl IntoIterator<Item = &'a Arc<Image>>) -> Request {
    let mut tokens: Vec<u32> = (0..40).collect();
    let mut inputs = Vec::new();
    for image in images {
        tokens.extend([262, PAD, 263, 70, 71]);
        inputs.push(ImageInput { image: image.clone(), pixels: Some(RANGE) });
    }
    Request::greedy(Input::Images { tokens, images: inputs }, 12)
}

/// Returns the text of an answer, and the numbers of prompt tokens and of cached ones.
fn answer(engine: &Engine, request: &Request) -> (String, usize, usize) {
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
    for name in ["qwen2vl", "qwen3vl"] {
        let (temporary, file) = model(name, Some(name));
        let engine = Engine::start(&file, &options()).unwrap();
        let (one, other) = (picture(40, 20, 1), picture(40, 20, 2));
        let (first, tokens, cached) = answer(&engine, &request([&one]));
        assert_eq!(cached, 0);
        assert_eq!(engine.images(), Some((1, 0)));
        // 20 × 40 pixels are 2 × 5 tokens, since halves are rounded to even.
        assert_eq!(tokens, 40 + 5 + 9);

        let by_hand = by_hand(&temporary.path().join("mmproj-F16.gguf"), &one);
        assert_eq!(answer(&engine, &by_hand).0, first, "{name}");

        let (again, _, cached) = answer(&engine, &request([&one]));
        assert_eq!((&again, cached), (&first, 32));
        assert_eq!(engine.images(), Some((1, 1)));

        // The same words with another image share the page before it only.
        let (different, _, cached) = answer(&engine, &request([&other]));
        assert_eq!(cached, 32);
        assert_eq!(engine.images(), Some((2, 1)));
        let both = answer(&engine, &request([&one, &other])).0;
        let swapped = answer(&engine, &request([&other, &one])).0;
        assert!(different != first || both != swapped, "{name}: images change nothing");
        assert_eq!(engine.images(), Some((2, 5)));
        let small = engine.count_prompt(&request([&picture(8, 8, 3)])).unwrap();
        assert_eq!(small, 40 + 5 + 3, "at least two tokens: 2 × 2");
    }
}

/// Encodes an image without an engine.
fn by_hand(projector: &Path, image: &Image) -> Request {
    let tower = Tower::load(projector, Precision::EightBit).unwrap();
    let patches = Patches::new(&[&resize(image, 40, 16)], tower.spec());
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
    let input = |pixels| ImageInput { image: image.clone(), pixels };
    let images = |tokens: &[u32], images| {
        Request::greedy(Input::Images { tokens: tokens.to_vec(), images }, 4)
    };
    let error = refused(images(&[1, 2], vec![input(None)]));
    assert!(error.to_string().contains("0 tokens for images"), "{error}");
    let error = refused(images(&[1, 261], vec![input(Some(RANGE))]));
    assert!(error.to_string().contains("the token of a video"), "{error}");
    let error = refused(images(&[1, PAD], vec![input(Some(PixelRange { min: 9, max: 8 }))]));
    assert!(error.to_string().contains("max_pixels must be at least 64"), "{error}");
    let narrow = ImageInput { image: picture(1, 300, 1), pixels: Some(RANGE) };
    let error = refused(images(&[1, PAD], vec![narrow]));
    assert!(error.to_string().contains("at most 200 times"), "{error}");
    // Without a range, the smallest image of this tower fills more than the context.
    let error = refused(images(&[1, PAD], vec![input(None)]));
    assert!(matches!(error, GenerateError::ContextLengthExceeded { .. }), "{error}");
    assert_eq!(engine.images(), Some((0, 0)), "nothing was encoded");
}

#[test]
fn projectors_must_fit_the_model() {
    let (_blind, file) = model("qwen3vl", None);
    let engine = Engine::start(&file, &options()).unwrap();
    assert_eq!(engine.images(), None);
    let error = engine.submit(&request([&picture(40, 20, 1)])).map(drop).unwrap_err();
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
