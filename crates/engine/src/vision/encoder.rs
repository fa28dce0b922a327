//! Encodes images beside the engine's steps, each image once.
//!
//! Threads of its own take images from a queue; a caller waits for the rows of its image. Callers with the same image
//! wait for one computation, and its rows are kept until others take their memory. An image that no caller waits for any
//! more leaves the queue.

mod cache;
mod resized;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::{Image, ImageError};

use self::cache::Cache;
pub use self::resized::ResizedImage;
pub(crate) use self::resized::SizeRule;
use super::patches::{Grid, Patches};
use super::positions::offsets;
use super::size::{PixelRange, image_size};
use super::tower::{Tower, TowerWorkspace};
use crate::LoadError;
use crate::injected::InjectedRows;
use crate::kernels::pool;

/// The interval at which a waiting caller checks whether its request was given up.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// How an [`Encoder`] uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The number of images that are encoded at the same time; at least 1. All of them share the compute threads.
    pub threads: usize,
    /// The most bytes of rows that are kept for images that come again.
    pub cache_bytes: usize,
    /// The most tokens of an image. Larger images are reduced.
    pub max_tokens: usize,
    /// The most tokens of a video. Fewer and smaller frames are taken of longer ones.
    pub max_video_tokens: usize,
}

impl Default for EncoderOptions {
    /// One image at a time, 256 MiB, 1,024 tokens of an image, 2,048 of a video.
    fn default() -> Self {
        Self { threads: 1, cache_bytes: 256 << 20, max_tokens: 1_024, max_video_tokens: 2_048 }
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
    /// The image was resized for another model.
    #[error("the image was resized for another model")]
    OtherModel,
    /// The request was given up before the image was encoded.
    #[error("the request was given up before its images were encoded")]
    GivenUp,
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
    /// The threads that encode.
    pool: rayon::ThreadPool,
    state: Mutex<State>,
    /// Signals a new job, or the end.
    jobs: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// The computations that callers wait for.
    running: HashMap<[u8; 32], Running>,
    cache: Cache,
    stopped: bool,
    /// Images that were computed, and those that were found.
    computed: u64,
    found: u64,
}

#[derive(Debug)]
struct Job {
    image: ResizedImage,
    slot: Arc<Slot>,
}

/// A computation, and the number of callers that wait for it.
#[derive(Debug)]
struct Running {
    slot: Arc<Slot>,
    callers: usize,
}

/// The result of a computation, once it is there.
#[derive(Debug, Default)]
struct Slot {
    outcome: Mutex<Option<Outcome>>,
    done: Condvar,
}

impl Encoder {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(tower: Tower, options: EncoderOptions) -> Result<Self, LoadError> {
        let failed = |error: &dyn std::fmt::Display| {
            LoadError::OutOfMemory(format!("no encoder thread: {error}"))
        };
        // Resizing and products in f32 run in a pool of rayon, the kernels in the engine's pool for images.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(pool::threads())
            .thread_name(|number| format!("engine-encode-{number}"))
            .start_handler(|_| pool::encode_images())
            .build()
            .map_err(|error| failed(&error))?;
        let shared =
            Arc::new(Shared { tower, pool, state: Mutex::default(), jobs: Condvar::new() });
        let threads = (0..options.threads.max(1)).map(|number| {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(format!("engine-images-{number}"))
                .spawn(move || shared.work(options.cache_bytes))
                .map_err(|error| failed(&error))
        });
        let threads: Result<Vec<_>, _> = threads.collect();
        Ok(Self { threads: threads?, shared, options })
    }

    /// Returns the tower.
    pub fn tower(&self) -> &Tower {
        &self.shared.tower
    }

    /// Returns the most tokens of a video.
    pub fn max_video_tokens(&self) -> usize {
        self.options.max_video_tokens
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

    /// Returns the arrangement of an image's patches.
    ///
    /// # Errors
    /// If the image was resized for another model.
    pub fn grid(&self, image: &ResizedImage) -> Result<Grid, EncodeError> {
        let spec = self.tower().spec();
        let (height, width) = image.size();
        if image.model != self.size_rule() {
            return Err(EncodeError::OtherModel);
        }
        let patches = |length: u32| length as usize / spec.patch;
        Ok(Grid { time: 1, height: patches(height), width: patches(width) })
    }

    /// Resizes an image for [`Self::encode`]. `range` is that of a request, if it has one.
    ///
    /// # Errors
    /// If the image is too narrow, or the range is empty.
    pub fn resize(
        &self,
        image: &Image,
        range: Option<PixelRange>,
    ) -> Result<ResizedImage, EncodeError> {
        Ok(ResizedImage::new(image, self.size(image, range)?, self.size_rule()))
    }

    /// Encodes an image; waits for its rows until `given_up` returns true.
    ///
    /// # Errors
    /// If the image was resized for another model, the computation fails, or the caller gave up.
    pub fn encode(
        &self,
        image: &ResizedImage,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Arc<EncodedImage>, EncodeError> {
        self.grid(image)?;
        let slot = {
            let mut guard = self.shared.lock();
            let state = &mut *guard;
            if state.stopped {
                return Err(EncodeError::Stopped);
            }
            if let Some(found) = state.cache.get(&image.hash) {
                state.found += 1;
                return Ok(found);
            }
            if let Some(running) = state.running.get_mut(&image.hash) {
                state.found += 1;
                running.callers += 1;
                running.slot.clone()
            } else {
                let slot = Arc::new(Slot::default());
                let running = Running { slot: slot.clone(), callers: 1 };
                state.running.insert(image.hash, running);
                state.queue.push_back(Job { image: image.clone(), slot: slot.clone() });
                self.shared.jobs.notify_one();
                slot
            }
        };
        slot.wait(given_up).unwrap_or_else(|| {
            if let Some(running) = self.shared.lock().running.get_mut(&image.hash) {
                running.callers -= 1;
            }
            Err(EncodeError::GivenUp)
        })
    }

    pub(crate) fn size_rule(&self) -> SizeRule {
        SizeRule { side: self.tower().spec().token_side(), max_tokens: self.options.max_tokens }
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
        // A tower was not trained on more pixels than its own maximum. A request whose range is above it, such as that
        // of a skill for pages, gets the model's range.
        let range = if range.min > spec.pixels.max { spec.pixels } else { range };
        let max = range.max.min(spec.pixels.max).min(most);
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
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.pool.install(|| self.compute(&job, &mut workspace))
            }));
            let outcome = outcome.unwrap_or_else(|_| {
                // It may be half written.
                workspace = TowerWorkspace::default();
                Err(EncodeError::Failed("the tower panicked".to_owned()))
            });
            let mut state = self.lock();
            state.running.remove(&job.image.hash);
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
            while let Some(job) = state.queue.pop_front() {
                if state.running.get(&job.image.hash).is_some_and(|running| running.callers > 0) {
                    return Some(job);
                }
                state.running.remove(&job.image.hash);
            }
            state = self.jobs.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn compute(&self, job: &Job, workspace: &mut TowerWorkspace) -> Outcome {
        let began = Instant::now();
        let spec = self.tower.spec();
        let frames: Vec<&Image> = job.image.frames.iter().collect();
        let patches = Patches::new(&frames, spec);
        let encoded = self.tower.encode(&patches, workspace);
        let encoded = encoded.map_err(|error| EncodeError::Failed(error.to_string()))?;
        tracing::debug!(
            "encoded an image of {} tokens in {} ms",
            patches.grid.merged(spec.merge).patches(),
            began.elapsed().as_millis()
        );
        Ok(Arc::new(EncodedImage {
            grid: patches.grid,
            positions: offsets(patches.grid, spec.merge, 1.0),
            rows: encoded.rows.into(),
            added: encoded.deepstack.concat().into(),
            hash: job.image.hash,
        }))
    }
}

impl Slot {
    fn finish(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.done.notify_all();
    }

    /// Waits for the result; `None` if `given_up` returns true before.
    fn wait(&self, given_up: &dyn Fn() -> bool) -> Option<Outcome> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return Some(outcome.clone());
            }
            if given_up() {
                return None;
            }
            let waited = self.done.wait_timeout(outcome, CHECK_EVERY);
            outcome = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests;
