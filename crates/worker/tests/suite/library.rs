//! The engine alone, whose answers a worker's must equal; and images for both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chat::{Message, Part, Role};
use engine::vision::{ImageLimits, Visual, decode};
use engine::{Engine, EngineOptions, Input, ModelFile, Progress, Request};
use futures::stream;
use media::video::{VideoLimits, look_up};
use protocol::{PixelLimits, Prompt, TenantId};
use queue::{BlobLimits, BlobStore, Broker, NewBlob};

use crate::rig::fixture;

/// Images of 2 to 12 tokens, since the fixtures' context is short.
pub(crate) const PIXELS: PixelLimits = PixelLimits { min: Some(2 * 64), max: Some(12 * 64) };

/// Returns the path of a model that sees, and that of its projector.
pub(crate) fn seeing(name: &str) -> (PathBuf, PathBuf) {
    let folder = fixture("vision").join(name);
    (folder.join("text.gguf"), folder)
}

/// The engine as a library.
pub(crate) struct Library(Engine);

impl Library {
    pub(crate) fn start(name: &str) -> Self {
        let (_, projector) = seeing(name);
        Self::start_with(name, &projector)
    }

    /// Starts one with another projector.
    pub(crate) fn start_with(name: &str, projector: &Path) -> Self {
        let (model, _) = seeing(name);
        let options = EngineOptions {
            projector: Some(projector.to_owned()),
            kv_tokens: Some(4096),
            max_batch: 4,
            ..EngineOptions::default()
        };
        Self(Engine::start(&ModelFile::Path(model), &options).unwrap())
    }

    /// Returns the greedy answer to a prompt with these images, and the number of the prompt's tokens.
    pub(crate) fn answer(&self, prompt: &Prompt, images: &[&[u8]], max: usize) -> (String, u32) {
        self.answer_to(prompt, images.iter().map(|bytes| self.image_of(bytes)).collect(), max)
    }

    /// Returns an image as the model sees it.
    pub(crate) fn image_of(&self, bytes: &[u8]) -> Visual {
        let image = decode(bytes, &ImageLimits::default()).unwrap();
        self.0.resize_image(&image, PIXELS.min, PIXELS.max).unwrap().into()
    }

    /// Returns the frames of an animation that the model sees.
    pub(crate) fn frames_of(&self, bytes: &[u8]) -> Visual {
        let limits = VideoLimits::default();
        let video = look_up(bytes, &limits, None).unwrap();
        let all: Vec<usize> = (0..video.times.len()).collect();
        let mut frames = Vec::new();
        video.decode(bytes, &limits, None, &all, &mut |frame| frames.push(frame)).unwrap();
        let chosen = self.0.choose_frames(&video.times, video.fps, PIXELS.min, PIXELS.max);
        let mut chosen = chosen.unwrap();
        for index in chosen.indices().to_vec() {
            chosen.add(&frames[index]).unwrap();
        }
        Visual::Video(chosen.finish().unwrap())
    }

    /// Returns the greedy answer to a prompt with these images and videos, and the number of the prompt's tokens.
    pub(crate) fn answer_to(
        &self,
        prompt: &Prompt,
        images: Vec<Visual>,
        max: usize,
    ) -> (String, u32) {
        let input = match prompt {
            Prompt::Chat(messages) => Input::Chat(messages.clone()),
            Prompt::RawImages { text, .. } => Input::Text(text.clone()),
            other => panic!("{other:?}"),
        };
        let input = Input::Images { prompt: Box::new(input), images };
        tokio::task::block_in_place(|| {
            let mut generation = self.0.submit(&Request::greedy(input, max)).unwrap();
            let mut text = String::new();
            while let Some(progress) = generation.next_blocking() {
                match progress {
                    Progress::Text { text: more, .. } => text.push_str(&more),
                    Progress::Finished(_) => break,
                    Progress::Failed(error) => panic!("{error}"),
                }
            }
            (text, generation.usage().prompt_tokens)
        })
    }
}

impl Library {
    /// Encodes an image; returns the time it took.
    pub(crate) fn encode(&self, image: &[u8], pixels: PixelLimits) -> Duration {
        let image = decode(image, &ImageLimits::default()).unwrap();
        let images = vec![self.0.resize_image(&image, pixels.min, pixels.max).unwrap().into()];
        let prompt = Box::new(Input::Text("<|image_pad|>".into()));
        let began = Instant::now();
        self.0.submit(&Request::greedy(Input::Images { prompt, images }, 1)).unwrap();
        began.elapsed()
    }

    /// Answers texts until `end` returns true, at least one; returns the times between the tokens of each, sorted.
    pub(crate) fn gaps(&self, end: impl Fn() -> bool) -> Vec<Duration> {
        let mut gaps = Vec::new();
        loop {
            let mut last: Option<Instant> = None;
            let request = Request::greedy(Input::Text("Hello".into()), 300);
            let mut generation = self.0.submit(&request).unwrap();
            while let Some(Progress::Text { .. }) = generation.next_blocking() {
                gaps.extend(last.replace(Instant::now()).map(|last| last.elapsed()));
            }
            if end() {
                gaps.sort();
                return gaps;
            }
        }
    }
}

/// Returns the bytes of an image of the engine's tests.
pub(crate) fn picture(name: &str) -> Vec<u8> {
    std::fs::read(fixture("vision/images").join(name)).unwrap()
}

/// Returns a BMP file of 24 × 16 pixels, different for each seed.
pub(crate) fn noise(seed: u32) -> Vec<u8> {
    let (width, height) = (24_u32, 16_u32);
    let size = width * height * 3;
    let mut file = b"BM".to_vec();
    for number in [54 + size, 0, 54, 40, width, height] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1, 0, 24, 0]);
    for number in [0, size, 0, 0, 0, 0] {
        file.extend(u32::to_le_bytes(number));
    }
    let color = |n: u32| {
        // Squares of four pixels, so that the differences survive a reduction.
        let (x, y) = (n / 3 % width / 4, n / 3 / width / 4);
        let mixed = (x * 7 + y * 57 + n % 3 * 3 + seed * 131).wrapping_mul(2_654_435_761);
        (mixed >> 24) as u8
    };
    file.extend((0..size).map(color));
    file
}

/// Stores an image for a tenant; returns the name that prompts have for it.
pub(crate) async fn store(broker: &Arc<dyn Broker>, tenant: &str, bytes: &[u8]) -> String {
    let new = NewBlob {
        tenant: TenantId::new(tenant),
        purpose: "vision".into(),
        media_type: "image/png".into(),
        filename: None,
        ttl: None,
        announced: Some(bytes.len() as u64),
    };
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
    let blobs = BlobStore::new(broker.clone(), BlobLimits::default());
    blobs.put(new, body).await.unwrap().id.to_string()
}

/// Returns a user's message of which each `|` is the next of these images.
pub(crate) fn asking(text: &str, images: &[&str]) -> Message {
    let mut images = images.iter();
    let mut parts = Vec::new();
    for (index, text) in text.split('|').enumerate() {
        if index > 0 {
            parts.push(Part::Image { blob: (*images.next().unwrap()).to_owned() });
        }
        parts.push(Part::Text { text: text.to_owned() });
    }
    Message { role: Role::User, parts, name: None }
}
