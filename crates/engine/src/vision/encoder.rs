//! Encodes images beside the engine's steps, each image once.
//!
//! Threads of its own take images from a queue; a caller waits for the rows of its image. Callers with the same image
//! wait for one computation, and its rows are kept until others take their memory.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use super::patches::{Grid, Patches};
use super::pixels::{Image, ImageError};
use super::positions::offsets;
use super::resample::resize;
use super::size::{PixelRange, image_size};
use super::tower::{Tower, TowerWorkspace};
use crate::LoadError;
use crate::injected::InjectedRows;

/// How an [`Encoder`] uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The number of images that are encoded at the same time; at least 1. All of them share the compute threads.
    pub threads: usize,
    /// The most bytes of rows that are kept for images that come again.
    pub cache_bytes: usize,
    /// The most tokens of an image. Larger images are reduced.
    pub max_tokens: usize,
}

impl Default for EncoderOptions {
    /// One image at a time, 256 MiB, 1,024 tokens.
    fn default() -> Self {
        Self { threads: 1, cache_bytes: 256 << 20, max_tokens: 1024 }
    }
}

/// The rows of an image, with everything that a prompt needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedImage {
    /// The arrangement of its patches.
    pub grid: Grid,
    /// Its tokens' positions, counted from the first.
    pub positions: Vec<[u32; 3]>,
    /// `[tokens, hidden]`
    pub rows: Arc<[f32]>,
    /// What is added after the first layers. `[layers, tokens, hidden]`
    pub added: Arc<[f32]>,
    /// A hash of the pixels, of the size to which they were resized and of the tower.
    pub hash: [u8; 32],
}

impl EncodedImage {
    /// Returns its rows in the place of the tokens from `start` on.
    pub fn at(&self, start: usize) -> InjectedRows {
        let Self { positions, rows, added, hash, .. } = self.clone();
        InjectedRows { start, positions, values: rows, added, hash }
    }

    fn bytes(&self) -> usize {
        let numbers = self.rows.len() + self.added.len();
        numbers * size_of::<f32>() + size_of_val(self.positions.as_slice())
    }
}

/// The reason why an image was not encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The range of pixels is empty or too low.
    #[error(
        "the range of {} to {} pixels has no image for this model: max_pixels must be at least {least}, \
         and min_pixels not more than max_pixels", range.min, range.max
    )]
    Range {
        /// The range that was requested.
        range: PixelRange,
        /// The pixels of a token.
        least: u64,
    },
    /// The computation failed.
    #[error("encoding the image failed: {0}")]
    Failed(String),
    /// The encoder was stopped.
    #[error("the encoder of images was stopped")]
    Stopped,
}

type Outcome = Result<Arc<EncodedImage>, EncodeError>;

/// Encodes images. Dropping it stops its threads.
#[derive(Debug)]
pub struct Encoder {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    options: EncoderOptions,
}

#[derive(Debug)]
struct Shared {
    tower: Tower,
    state: Mutex<State>,
    /// Signals a new job, or the end.
    jobs: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// The computations that callers wait for.
    running: HashMap<[u8; 32], Arc<Slot>>,
    cache: Cache,
    stopped: bool,
    /// Images that were computed, and those that were found.
    computed: u64,
    found: u64,
}

#[derive(Debug)]
struct Job {
    image: Arc<Image>,
    /// The height and the width to which it is resized.
    size: (u32, u32),
    hash: [u8; 32],
    slot: Arc<Slot>,
}

/// The result of a computation, once it is there.
#[derive(Debug, Default)]
struct Slot {
    outcome: Mutex<Option<Outcome>>,
    done: Condvar,
}

/// Encoded images, of which the ones unused for longest are removed first.
#[derive(Debug, Default)]
struct Cache {
    images: HashMap<[u8; 32], (Arc<EncodedImage>, u64)>,
    bytes: usize,
    /// Counts uses.
    now: u64,
}

impl Encoder {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(tower: Tower, options: EncoderOptions) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared { tower, state: Mutex::default(), jobs: Condvar::new() });
        let threads = (0..options.threads.max(1)).map(|number| {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(format!("engine-encode-{number}"))
                .spawn(move || shared.work(options.cache_bytes))
                .map_err(|error| LoadError::OutOfMemory(format!("no encoder thread: {error}")))
        });
        let threads: Result<Vec<_>, _> = threads.collect();
        Ok(Self { threads: threads?, shared, options })
    }

    /// Returns the tower.
    pub fn tower(&self) -> &Tower {
        &self.shared.tower
    }

    /// Returns the bytes that it uses at most beside the tower's weights: workspaces and kept rows.
    pub fn beside_weights(&self) -> usize {
        let patches = self.options.max_tokens * self.tower().spec().token_patches();
        let workspace = self.tower().spec().workspace_bytes(patches);
        self.threads.len() * workspace + self.options.cache_bytes
    }

    /// Returns the numbers of images that were computed, and of those that were found.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.computed, state.found)
    }

    /// Returns the arrangement of an image's patches. `range` is that of a request, if it has one.
    ///
    /// # Errors
    /// If the image is too narrow, or the range is empty.
    pub fn grid(&self, image: &Image, range: Option<PixelRange>) -> Result<Grid, EncodeError> {
        let (height, width) = self.size(image, range)?;
        let side = self.tower().spec().patch;
        Ok(Grid { time: 1, height: height as usize / side, width: width as usize / side })
    }

    /// Encodes an image; waits for its rows.
    ///
    /// # Errors
    /// If the image is too narrow, the range is empty, or the computation fails.
    pub fn encode(
        &self,
        image: &Arc<Image>,
        range: Option<PixelRange>,
    ) -> Result<Arc<EncodedImage>, EncodeError> {
        let size = self.size(image, range)?;
        let hash = hash(image, size);
        let slot = {
            let mut state = self.shared.lock();
            if state.stopped {
                return Err(EncodeError::Stopped);
            }
            if let Some(found) = state.cache.get(&hash) {
                state.found += 1;
                return Ok(found);
            }
            if let Some(running) = state.running.get(&hash).cloned() {
                state.found += 1;
                running
            } else {
                let slot = Arc::new(Slot::default());
                state.running.insert(hash, slot.clone());
                state.queue.push_back(Job { image: image.clone(), size, hash, slot: slot.clone() });
                self.shared.jobs.notify_one();
                slot
            }
        };
        slot.wait()
    }

    /// Returns the height and the width to which an image is resized.
    fn size(&self, image: &Image, range: Option<PixelRange>) -> Result<(u32, u32), EncodeError> {
        let spec = self.tower().spec();
        let side = u64::from(spec.token_side());
        let (most, least) = (self.options.max_tokens as u64 * side * side, side * side);
        let range = range.unwrap_or(spec.pixels);
        if range.min > range.max || range.max < least {
            return Err(EncodeError::Range { range, least });
        }
        let max = range.max.min(most);
        let range = PixelRange { min: range.min.min(max), max };
        Ok(image_size(image.height, image.width, spec.token_side(), range)?)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let queue = {
            let mut state = self.shared.lock();
            state.stopped = true;
            std::mem::take(&mut state.queue)
        };
        for job in queue {
            job.slot.finish(Err(EncodeError::Stopped));
        }
        self.shared.jobs.notify_all();
        for thread in self.threads.drain(..) {
            // Its panics were caught and reported to the waiting callers.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of a thread.
    fn work(&self, cache_bytes: usize) {
        let mut workspace = TowerWorkspace::default();
        while let Some(job) = self.next() {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.compute(&job, &mut workspace)));
            let outcome = outcome.unwrap_or_else(|_| {
                // It may be half written.
                workspace = TowerWorkspace::default();
                Err(EncodeError::Failed("the tower panicked".to_owned()))
            });
            let mut state = self.lock();
            state.running.remove(&job.hash);
            state.computed += 1;
            if let Ok(image) = &outcome {
                state.cache.insert(image.clone(), cache_bytes);
            }
            drop(state);
            job.slot.finish(outcome);
        }
    }

    /// Waits for a job. `None` if the encoder was stopped.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            state = self.jobs.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn compute(&self, job: &Job, workspace: &mut TowerWorkspace) -> Outcome {
        let (height, width) = job.size;
        let spec = self.tower.spec();
        let patches = Patches::new(&[&resize(&job.image, width, height)], spec);
        let encoded = self.tower.encode(&patches, workspace);
        let encoded = encoded.map_err(|error| EncodeError::Failed(error.to_string()))?;
        Ok(Arc::new(EncodedImage {
            grid: patches.grid,
            positions: offsets(patches.grid, spec.merge, 1.0),
            rows: encoded.rows.into(),
            added: encoded.deepstack.concat().into(),
            hash: job.hash,
        }))
    }
}

impl Slot {
    fn finish(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.done.notify_all();
    }

    fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self.done.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Cache {
    fn get(&mut self, hash: &[u8; 32]) -> Option<Arc<EncodedImage>> {
        self.now += 1;
        let (image, used) = self.images.get_mut(hash)?;
        *used = self.now;
        Some(image.clone())
    }

    /// Keeps an image, unless it is larger than the whole cache.
    fn insert(&mut self, image: Arc<EncodedImage>, most: usize) {
        let bytes = image.bytes();
        if bytes > most {
            return;
        }
        while self.bytes + bytes > most {
            let oldest =
                self.images.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash);
            let Some((oldest, _)) = oldest.and_then(|hash| self.images.remove(&hash)) else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
        self.now += 1;
        self.bytes += bytes;
        self.images.insert(image.hash, (image, self.now));
    }
}

/// Returns a hash of an image and of the size to which it is resized. An encoder has one tower, and an engine one
/// encoder, so the tower need not be part of it.
fn hash(image: &Image, (height, width): (u32, u32)) -> [u8; 32] {
    let mut hash = Sha256::new();
    for number in [image.width, image.height, width, height] {
        hash.update(number.to_le_bytes());
    }
    hash.update(&image.rgb);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{Precision, TowerSpec};

    fn encoder(options: EncoderOptions) -> Encoder {
        let spec = TowerSpec {
            patch: 4,
            width: 16,
            depth: 1,
            heads: 2,
            feed_forward: 16,
            deepstack: vec![0],
            ..TowerSpec::of_name("qwen3-vl-2b", 8).unwrap()
        };
        let pixels = PixelRange { min: 64, max: 64 * 64 };
        let spec = TowerSpec { pixels, position_side: Some(3), ..spec };
        Encoder::start(Tower::random(spec, Precision::Full).unwrap(), options).unwrap()
    }

    fn image(color: u8) -> Arc<Image> {
        Arc::new(Image { width: 20, height: 12, rgb: [color, 7, 200].repeat(240) })
    }

    #[test]
    fn an_image_is_encoded_once_by_all_that_ask_for_it_together() {
        let encoder = encoder(EncoderOptions { threads: 2, ..EncoderOptions::default() });
        let encode = |n: u8| encoder.encode(&image(n % 3), None).unwrap();
        let encode = &encode;
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..30).map(|n| scope.spawn(move || encode(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(encoder.counts(), (3, 27));
        for (n, outcome) in outcomes.iter().enumerate() {
            assert_eq!(*outcome, outcomes[n % 3], "{n}");
            assert_ne!(outcome.rows, outcomes[(n + 1) % 3].rows);
        }
        let encoded = &outcomes[0];
        // Halves of a token are rounded to even: 12 of 8 rows are 2, 20 of 8 columns are 2.
        assert_eq!(encoded.grid, Grid { time: 1, height: 4, width: 4 });
        assert_eq!((encoded.rows.len(), encoded.added.len()), (4 * 8, 4 * 8));
        let rows = encoded.at(5);
        assert_eq!((rows.start, rows.positions.len(), rows.hash), (5, 4, encoded.hash));
    }

    #[test]
    fn another_size_of_the_same_image_is_another_entry() {
        let encoder = encoder(EncoderOptions::default());
        let range = |pixels| Some(PixelRange { min: pixels, max: pixels });
        let (small, large) = (range(64), range(1024));
        let small = encoder.encode(&image(1), small).unwrap();
        let large = encoder.encode(&image(1), large).unwrap();
        assert!(small.positions.len() < large.positions.len());
        assert_ne!(small.hash, large.hash);
        let error = encoder.encode(&image(1), range(63)).unwrap_err();
        assert!(matches!(error, EncodeError::Range { least: 64, .. }), "{error}");
        let narrow = Arc::new(Image { width: 201, height: 1, rgb: vec![0; 603] });
        assert!(matches!(encoder.encode(&narrow, None), Err(EncodeError::Image(_))));
    }

    #[test]
    fn the_images_unused_for_longest_make_room() {
        let bytes = encoder(EncoderOptions::default()).encode(&image(1), None).unwrap().bytes();
        let encoder =
            encoder(EncoderOptions { cache_bytes: 2 * bytes, ..EncoderOptions::default() });
        for color in [1, 2, 1, 3, 1, 2] {
            encoder.encode(&image(color), None).unwrap();
        }
        // 3 took the place of 2.
        assert_eq!(encoder.counts(), (4, 2));
        assert!(encoder.shared.lock().cache.bytes <= 2 * bytes);
    }

    #[test]
    fn more_tokens_than_allowed_are_reduced() {
        let encoder = encoder(EncoderOptions { max_tokens: 2, ..EncoderOptions::default() });
        let encoded = encoder.encode(&image(1), Some(PixelRange { min: 4096, max: 4096 })).unwrap();
        assert!(encoded.positions.len() <= 2);
    }
}
