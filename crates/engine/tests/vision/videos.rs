//! An engine with a projector: requests that carry videos.

use engine::injected::InjectedRows;
use engine::vision::positions::offsets;
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Image, Patches, Precision, ResizedVideo, Tower, Visual, resample};
use engine::{Engine, Input, Request};

use super::engine::{answer, model, options, picture};
use super::folder;

const IMAGE: u32 = 260;
const VIDEO: u32 = 261;
const START: u32 = 262;
const END: u32 = 263;
/// The pixels of a frame: 6 tokens of 8 × 8 pixels.
const PIXELS: u64 = 6 * 64;
const FPS: f64 = 4.0;

/// A video of `count` frames in 24 × 16 pixels, which need no resizing.
fn frames(count: usize) -> Vec<Image> {
    (0..count as u32).map(|seed| picture(24, 16, seed + 3)).collect()
}

/// Gives an engine the frames that it chooses. Returns the video and the indices.
fn taken(engine: &Engine, frames: &[Image]) -> (ResizedVideo, Vec<usize>) {
    let times: Vec<f64> = (0..frames.len()).map(|index| index as f64 / FPS).collect();
    let pixels = Some(PIXELS);
    let mut chosen = engine.choose_frames(&times, FPS, pixels, pixels).unwrap();
    let indices = chosen.indices().to_vec();
    for index in &indices {
        chosen.add(&frames[*index]).unwrap();
    }
    (chosen.finish().unwrap(), indices)
}

fn prompt(middle: &[u32]) -> Vec<u32> {
    (0..20).chain(middle.iter().copied()).chain([70, 71]).collect()
}

/// Returns the request that a caller makes who encodes all frames at once and places their rows.
fn by_rows(engine: &Engine, name: &str, frames: &[Image], indices: &[usize]) -> Request {
    let tower = Tower::load(&folder().join(name), Precision::default()).unwrap();
    let frames: Vec<Image> =
        indices.iter().map(|index| resample::resize(&frames[*index], 24, 16)).collect();
    let patches = Patches::new(&frames.iter().collect::<Vec<_>>(), tower.spec());
    let encoded = tower.encode(&patches, &mut TowerWorkspace::default()).unwrap();
    let (pairs, hidden) = (patches.grid.time, tower.spec().out);
    let each = encoded.rows.len() / hidden / pairs;
    let rows = |start, pairs: std::ops::Range<usize>| {
        let part = |values: &[f32]| {
            values[pairs.start * each * hidden..pairs.end * each * hidden].to_vec()
        };
        let grid = engine::vision::Grid { time: pairs.len(), ..patches.grid };
        InjectedRows {
            start,
            positions: offsets(grid, 2, 1.0),
            values: part(&encoded.rows).into(),
            added: encoded.deepstack.iter().flat_map(|layer| part(layer)).collect(),
            hash: [pairs.start as u8; 32],
        }
    };
    if name == "qwen2vl" {
        let tokens = prompt(&[&[START][..], &vec![VIDEO; pairs * each], &[END]].concat());
        return Request::greedy(Input::Injected { tokens, rows: vec![rows(21, 0..pairs)] }, 12);
    }
    let (mut middle, mut placed) = (vec![START], Vec::new());
    for (pair, times) in indices.chunks(2).enumerate() {
        let time = |index: usize| index as f64 / FPS;
        let mean = (time(times[0]) + time(times[times.len() - 1])) / 2.0;
        middle.extend(engine.tokenizer().encode(&format!("<{mean:.1} seconds>")).unwrap());
        middle.push(START);
        placed.push(rows(20 + middle.len(), pair..pair + 1));
        middle.extend(vec![VIDEO; each]);
        middle.push(END);
    }
    middle.push(END);
    Request::greedy(Input::Injected { tokens: prompt(&middle), rows: placed }, 12)
}

#[test]
fn pairs_of_frames_answer_as_the_whole_video_does() {
    for name in ["qwen2vl", "qwen3vl", "qwen3.5"] {
        let (_temporary, file) = model(name, Some(name));
        let engine = Engine::start(&file, &options()).unwrap();
        for count in [8, 9, 1] {
            let frames = frames(count);
            let (video, indices) = taken(&engine, &frames);
            let tokens = prompt(&[START, VIDEO, END]);
            let images = vec![Visual::Video(video)];
            let request = Input::Images { prompt: Box::new(Input::Tokens(tokens)), images };
            let found = answer(&engine, &Request::greedy(request, 12));
            let expected = answer(&engine, &by_rows(&engine, name, &frames, &indices));
            assert_eq!((found.0, found.1), (expected.0, expected.1), "{name}, {count} frames");
        }
        let other = frames(8).into_iter().rev().collect::<Vec<_>>();
        let (first, second) = (taken(&engine, &frames(8)).0, taken(&engine, &other).0);
        assert_ne!(first, second, "{name}: the order of frames counts");
    }
}

#[test]
fn frames_are_fewer_and_smaller_for_long_videos() {
    let (_temporary, file) = model("qwen3vl", Some("qwen3vl"));
    let mut limited = options();
    limited.images.max_video_tokens = 256;
    let engine = Engine::start(&file, &limited).unwrap();
    let times: Vec<f64> = (0..3_000).map(|index| f64::from(index) / 30.0).collect();
    let mut chosen = engine.choose_frames(&times, 30.0, None, None).unwrap();
    assert_eq!(chosen.indices().len(), 8, "four pairs of 64 tokens");
    assert_eq!((chosen.indices()[0], chosen.indices()[7]), (0, 2_999));
    chosen.add(&picture(640, 480, 1)).unwrap();
    let error = chosen.finish().unwrap_err();
    assert_eq!(error.to_string(), "1 of 8 frames of the video were decoded");
}

#[test]
fn unusable_videos_are_refused() {
    let (_temporary, file) = model("qwen3vl", Some("qwen3vl"));
    let engine = Engine::start(&file, &options()).unwrap();
    let error = |times: &[f64], fps| engine.choose_frames(times, fps, None, None).unwrap_err();
    assert!(error(&[], 1.0).to_string().contains("the video has no frames"));
    assert!(error(&[0.0], 0.0).to_string().contains("positive number"));
    let mut chosen = engine.choose_frames(&[0.0], 1.0, None, None).unwrap();
    assert!(chosen.add(&picture(1, 300, 1)).unwrap_err().to_string().contains("200 times"));
    // The place of an image takes no video.
    let (video, _) = taken(&engine, &frames(4));
    let prompt = Box::new(Input::Tokens(prompt(&[START, IMAGE, END])));
    let images = vec![Visual::Video(video)];
    let refused = engine.submit(&Request::greedy(Input::Images { prompt, images }, 4)).map(drop);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("is a video, but the prompt has the token of an image"), "{error}");
}
