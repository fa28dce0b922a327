//! Measures what one image costs: encoding it and processing its rows. `scripts/bench/vision/mtmd.cpp` measures the
//! same with llama.cpp and prints the same lines.

use std::error::Error;
use std::path::Path;

use engine::injected::InjectedRows;
use engine::vision::positions::offsets;
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Image, Patches, Precision, Tower};
use engine::{Engine, EngineOptions, Input, ModelFile, Progress, Request};

use super::clock::Clock;

/// The ids in Qwen's vocabulary.
const START: u32 = 151_652;
const PAD: u32 = 151_655;

/// Prints a line of JSON for each span. The first image warms up and is not printed.
pub(crate) fn measure(
    text: &Path,
    projector: &Path,
    tokens: &[usize],
) -> Result<(), Box<dyn Error>> {
    let tower = Tower::load(projector, Precision::EightBit)?;
    let options = EngineOptions {
        max_batch: 1,
        kv_tokens: Some(4096),
        context_limit: Some(4096),
        ..EngineOptions::default()
    };
    let engine = Engine::start(&ModelFile::Path(text.to_owned()), &options)?;
    let mut workspace = TowerWorkspace::default();
    let warm_up = tokens.first().copied().unwrap_or(64);
    for (index, tokens) in std::iter::once(&warm_up).chain(tokens).enumerate() {
        let patches = Patches::new(&[&square(&tower, *tokens)], tower.spec());
        let clock = Clock::start();
        let encoded = tower.encode(&patches, &mut workspace)?;
        let encode = clock.seconds();
        let rows = InjectedRows {
            start: 1,
            positions: offsets(patches.grid, tower.spec().merge, 1.0),
            values: encoded.rows.into(),
            added: encoded.deepstack.concat().into(),
            // Another one each time, so that nothing is found in the cache.
            hash: [index as u8; 32],
        };
        let count = rows.positions.len();
        let mut prompt = vec![START];
        prompt.extend(std::iter::repeat_n(PAD, count));
        prompt.push(START + 1);
        let request = Request::greedy(Input::Injected { tokens: prompt, rows: vec![rows] }, 1);
        let clock = Clock::start();
        let mut generation = engine.submit(&request)?;
        loop {
            match generation.next_blocking().ok_or("the engine stopped")? {
                Progress::Text { .. } => {}
                Progress::Finished(_) => break,
                Progress::Failed(error) => return Err(error.into()),
            }
        }
        let prefill = clock.seconds();
        if index > 0 {
            for (what, [wall, cpu]) in [("encode", encode), ("prefill", prefill)] {
                println!(
                    r#"{{"what": "{what}", "tokens": {count}, "wall": {wall:.4}, "cpu": {cpu:.4}}}"#
                );
            }
        }
    }
    Ok(())
}

/// Returns a square image of so many tokens, a square number.
pub(crate) fn square(tower: &Tower, tokens: usize) -> Image {
    let side = tokens.isqrt() as u32 * tower.spec().token_side();
    let rgb = (0..side * side * 3).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    Image { width: side, height: side, rgb }
}
