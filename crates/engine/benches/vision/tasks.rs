//! Measures tasks with images in an engine: sixteen together and one by one, a repeated image, and the gaps between the
//! tokens of an answer while an image is encoded.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::vision::Image;
use engine::vision::encoder::EncoderOptions;
use engine::{Engine, EngineOptions, Input, ModelFile, Progress, Request};

use super::clock::Clock;

const TASKS: usize = 16;
const ANSWER_TOKENS: usize = 32;
/// The pixels of a side of each image: 256 tokens of 32 × 32 pixels.
const SIDE: u32 = 512;
/// The same of the image that is encoded beside an answer: 1,024 tokens.
const LARGE_SIDE: u32 = 1024;
const ROUNDS: usize = 3;
/// The ids in Qwen's vocabulary.
const START: u32 = 151_652;
const PAD: u32 = 151_655;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) fn measure(text: &Path, projector: &Path) -> Result<(), Box<dyn Error>> {
    let options = EngineOptions {
        max_batch: TASKS + 1,
        kv_tokens: Some((TASKS + 1) * 2048),
        context_limit: Some(2048),
        projector: Some(projector.to_owned()),
        images: EncoderOptions::default(),
        ..EngineOptions::default()
    };
    let engine = Engine::start(&ModelFile::Path(text.to_owned()), &options)?;
    let mut seed = 0;
    let mut images = |side: u32, count: usize| -> Vec<Arc<Image>> {
        (0..count)
            .map(|_| {
                seed += 1;
                Arc::new(picture(side, seed))
            })
            .collect()
    };
    task(&engine, &images(SIDE, 1)[0]).map_err(|error| error.to_string())?;
    for round in 0..ROUNDS {
        let clock = Clock::start();
        for image in images(SIDE, TASKS) {
            task(&engine, &image).map_err(|error| error.to_string())?;
        }
        let [single, single_cpu] = clock.seconds();
        let clock = Clock::start();
        std::thread::scope(|scope| {
            let tasks: Vec<_> = images(SIDE, TASKS)
                .into_iter()
                .map(|image| scope.spawn(|| task(&engine, &{ image })))
                .collect();
            tasks
                .into_iter()
                .try_for_each(|task| task.join().map_err(|_| "a task panicked")?.map(drop))
        })
        .map_err(|error: Box<dyn Error + Send + Sync>| error.to_string())?;
        let [together, together_cpu] = clock.seconds();
        println!(
            "round {round}: {TASKS} tasks one by one {single:.1} s ({single_cpu:.1} processor seconds), together \
             {together:.1} s ({together_cpu:.1}): {:.2}",
            single / together
        );
    }
    let image = images(SIDE, 1).remove(0);
    for what in ["new", "repeated"] {
        let before = engine.images();
        let first = task(&engine, &image).map_err(|error| error.to_string())?;
        println!(
            "{what} image: first token after {:.0} ms, encoded and found {before:?} -> {:?}",
            first.as_secs_f64() * 1e3,
            engine.images()
        );
    }
    for large in images(LARGE_SIDE, ROUNDS) {
        beside(&engine, &large).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Runs a task. Returns the time to its first token.
fn task(engine: &Engine, image: &Arc<Image>) -> Outcome<Duration> {
    let begin = Instant::now();
    let mut generation = engine.submit(&request(engine, image)?)?;
    let mut first = None;
    loop {
        match generation.next_blocking().ok_or("the engine stopped")? {
            Progress::Text { .. } => {
                first.get_or_insert_with(|| begin.elapsed());
            }
            Progress::Finished(_) => return Ok(first.unwrap_or_default()),
            Progress::Failed(error) => return Err(error.into()),
        }
    }
}

fn request(engine: &Engine, image: &Image) -> Outcome<Request> {
    let area = Some(u64::from(image.width) * u64::from(image.height));
    let images = vec![engine.resize_image(image, area, area)?.into()];
    let prompt = Box::new(Input::Tokens(vec![START, PAD, START + 1, 70, 71, 72]));
    Ok(Request::greedy(Input::Images { prompt, images }, ANSWER_TOKENS))
}

/// Prints the gaps between an answer's tokens, alone and while an image is encoded.
fn beside(engine: &Engine, image: &Arc<Image>) -> Outcome<()> {
    let (encoding, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let answer = Request::greedy(Input::Tokens(vec![70, 71, 72, 73]), 1900);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Outcome<[Vec<f64>; 2]> {
            let mut generation = engine.submit(&answer)?;
            let (mut gaps, mut last) = ([Vec::new(), Vec::new()], None::<Instant>);
            loop {
                match generation.next_blocking().ok_or("the engine stopped")? {
                    Progress::Text { .. } => {
                        let now = Instant::now();
                        if let Some(last) = last.replace(now) {
                            let kind = usize::from(encoding.load(Ordering::Relaxed));
                            gaps[kind].push((now - last).as_secs_f64() * 1e3);
                        }
                    }
                    Progress::Finished(_) => return Ok(gaps),
                    Progress::Failed(error) => return Err(error.into()),
                }
                if stop.load(Ordering::Relaxed) {
                    return Ok(gaps);
                }
            }
        });
        std::thread::sleep(Duration::from_secs(3));
        encoding.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        // Waits for the rows; what follows is not measured.
        let task = engine.submit(&request(engine, image)?)?;
        let encoded = begin.elapsed();
        encoding.store(false, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        drop(task);
        let gaps = reader.join().map_err(|_| "the reader panicked")??;
        for (what, mut gaps) in ["alone", "beside an encoding"].into_iter().zip(gaps) {
            gaps.sort_by(f64::total_cmp);
            let at = |share: f64| gaps.get((gaps.len() as f64 * share) as usize).copied();
            println!(
                "answer {what}: {} gaps, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
                gaps.len(),
                at(0.5).unwrap_or_default(),
                at(0.99).unwrap_or_default(),
                gaps.last().copied().unwrap_or_default()
            );
        }
        println!("the image was encoded in {:.2} s", encoded.as_secs_f64());
        Ok(())
    })
}

fn picture(side: u32, seed: u32) -> Image {
    let rgb = (0..side * side * 3)
        .map(|n| (n.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    Image { width: side, height: side, rgb }
}
