//! Reads the images and videos of a task's prompt: fetches their bytes from the blob store, decodes and resizes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Engine;
use engine::vision::{Image, ImageLimits, Visual, decode};
use futures::{StreamExt, TryStreamExt, stream};
use media::video::{self, Programs, VideoLimits};
use protocol::{BlobId, ErrorType, PixelLimits, Task, TaskError, VisualKind};
use queue::{BlobStore, BrokerError, ContentHash, retry};
use skills::marks::Picture;
use tokio::sync::Semaphore;

use crate::options::Options;

/// The images that are fetched at the same time, of a worker and of a task. Each takes at most
/// [`ImageLimits::max_bytes`].
const FETCHES: usize = 8;
const FETCHES_OF_TASK: usize = 4;
/// The images of a worker that are decoded at the same time, which takes the most memory.
const DECODES: usize = 2;
/// The videos of a worker that are fetched and decoded at the same time.
const VIDEOS: usize = 2;
/// Maximum time to fetch an image or a video, including retries. Then another worker may try.
const FETCH_SPAN: Duration = Duration::from_secs(30);

/// Reads images and videos, a bounded number at a time.
pub(crate) struct VisualReader {
    blobs: BlobStore,
    images: ImageLimits,
    videos: VideoLimits,
    /// The decoders of videos, if they are installed.
    programs: Option<Programs>,
    fetches: Semaphore,
    decodes: Arc<Semaphore>,
    videos_at_once: Arc<Semaphore>,
}

/// What the model sees, and the width and the height of what the client sent, turned upright.
type SeenAndSize = Result<(Visual, (u32, u32)), TaskError>;

/// The bytes of a blob, or the reason why there are none that are usable.
type Fetched = Result<Vec<u8>, String>;

impl VisualReader {
    pub(crate) fn new(blobs: BlobStore, options: &Options) -> Self {
        Self {
            blobs,
            images: options.images,
            videos: options.videos,
            programs: Programs::find(),
            fetches: Semaphore::new(FETCHES),
            decodes: Arc::new(Semaphore::new(DECODES)),
            videos_at_once: Arc::new(Semaphore::new(VIDEOS)),
        }
    }

    /// Returns the images and videos of the task's prompt in order, resized for the engine's model, and their sizes. One
    /// that the prompt has several times is read once.
    ///
    /// # Errors
    /// If one is missing or unusable, which another attempt does not change, or cannot be fetched now.
    pub(crate) async fn read(
        &self,
        engine: &Engine,
        task: &Task,
    ) -> Result<Vec<(Visual, Picture)>, TaskError> {
        let names = task.prompt.visuals();
        let mut distinct: Vec<(usize, VisualKind, String)> = Vec::new();
        for (index, (kind, name)) in names.iter().enumerate() {
            if names.iter().position(|other| *other == (*kind, *name)) == Some(index) {
                distinct.push((index, *kind, (*name).to_owned()));
            }
        }
        let read: HashMap<(VisualKind, String), (Visual, Picture)> = stream::iter(distinct)
            .map(|(index, kind, name)| self.read_named(engine, task, index, kind, name))
            .buffer_unordered(FETCHES_OF_TASK)
            .try_collect()
            .await?;
        let found =
            |(kind, name): &(VisualKind, &str)| read.get(&(*kind, (*name).to_owned())).cloned();
        Ok(names.iter().filter_map(found).collect())
    }

    /// Reads the one that is the first of its name in the prompt.
    async fn read_named(
        &self,
        engine: &Engine,
        task: &Task,
        index: usize,
        kind: VisualKind,
        name: String,
    ) -> Result<((VisualKind, String), (Visual, Picture)), TaskError> {
        let read = match kind {
            VisualKind::Image => self.read_image(engine, task, &name).await,
            VisualKind::Video => self.read_video(engine, task, &name).await,
        };
        match read {
            Ok((visual, size)) => {
                let (height, width) = visual.size();
                Ok(((kind, name), (visual, Picture { size, seen: (width, height) })))
            }
            Err(error) => {
                let what = kind.noun();
                let message = format!("{what} {} of the prompt: {}", index + 1, error.message);
                Err(TaskError { message, ..error }.about(what))
            }
        }
    }

    /// Returns the hashes of the images and videos of the task's prompt, by the names of their blobs. `None` if one is
    /// missing, or they can't be read now.
    pub(crate) async fn hashes(&self, task: &Task) -> Option<HashMap<String, ContentHash>> {
        let mut hashes = HashMap::new();
        for (_, name) in task.prompt.visuals() {
            if !hashes.contains_key(name) {
                let found = self.blobs.find(&task.tenant, name.parse().ok()?).await.ok()??;
                hashes.insert(name.to_owned(), found.blob.hash);
            }
        }
        Some(hashes)
    }

    async fn read_image(&self, engine: &Engine, task: &Task, name: &str) -> SeenAndSize {
        let (engine, pixels) = (engine.clone(), task.pixels);
        let resize = move |image: Image| {
            let resized = engine.resize_image(&image, pixels.min, pixels.max).map_err(unusable)?;
            Ok((resized.into(), (image.width, image.height)))
        };
        self.with_image(task, name, resize).await?
    }

    /// Fetches and decodes an image, and calls `work` with it on a thread that may take its time. The number of images
    /// that are decoded at the same time is bounded, until `work` has returned.
    ///
    /// # Errors
    /// If the image is missing or unusable, or can't be fetched now.
    pub(crate) async fn with_image<T: Send + 'static>(
        &self,
        task: &Task,
        name: &str,
        work: impl FnOnce(Image) -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        let _fetch = self.fetches.acquire().await.map_err(stopped)?;
        let bytes = self.fetched(task, name, self.images.max_bytes).await?;
        let decode_permit = self.decodes.clone().acquire_owned().await.map_err(stopped)?;
        let limits = self.images;
        // It ends by itself if it is not waited for.
        let decoding = tokio::task::spawn_blocking(move || {
            let _permit = decode_permit;
            let image = decode(&bytes, &limits).map_err(unusable)?;
            drop(bytes);
            Ok(work(image))
        });
        decoding.await.map_err(|_| unusable(FAILED))?
    }

    /// Returns the most bytes of an image's file.
    pub(crate) fn max_image_bytes(&self) -> usize {
        self.images.max_bytes
    }

    async fn read_video(&self, engine: &Engine, task: &Task, name: &str) -> SeenAndSize {
        let permit = self.videos_at_once.clone().acquire_owned().await.map_err(stopped)?;
        let bytes = self.fetched(task, name, self.videos.max_bytes).await?;
        let (engine, limits, pixels) = (engine.clone(), self.videos, task.pixels);
        let programs = self.programs.clone();
        let decoding = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            frames(&engine, &bytes, &limits, programs.as_ref(), pixels)
        });
        decoding.await.map_err(|_| unusable(FAILED))?
    }

    /// Returns the bytes of a blob.
    async fn fetched(&self, task: &Task, name: &str, most: usize) -> Result<Vec<u8>, TaskError> {
        let fetched = self.fetch(task, name, most).await.map_err(|error| {
            let problem = format!("it could not be fetched: {error}");
            TaskError::new(ErrorType::EngineError, problem).caused_by(&error)
        });
        fetched?.map_err(unusable)
    }

    /// Fetches the bytes of a blob; retries while the queue or the blob store is unavailable.
    async fn fetch(&self, task: &Task, name: &str, most: usize) -> Result<Fetched, BrokerError> {
        let Ok(id) = name.parse::<BlobId>() else {
            return Ok(Err(format!("'{name}' is not the id of a blob")));
        };
        let until = Instant::now() + FETCH_SPAN;
        let fetch = || async {
            match tokio::time::timeout_at(until.into(), self.fetch_once(task, id, most)).await {
                Ok(fetched) => fetched,
                Err(_) => {
                    let reason = "the blob store does not answer".to_owned();
                    Err(BrokerError::Unavailable { reason })
                }
            }
        };
        retry::while_unavailable(until, fetch).await
    }

    async fn fetch_once(
        &self,
        task: &Task,
        id: BlobId,
        most: usize,
    ) -> Result<Fetched, BrokerError> {
        let missing = || format!("the blob {id} does not exist or has expired; upload it again");
        let Some(found) = self.blobs.find(&task.tenant, id).await? else {
            return Ok(Err(missing()));
        };
        let size = found.blob.size;
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= most) else {
            return Ok(Err(format!("it has {size} bytes, at most {most} are allowed")));
        };
        let mut bytes = Vec::with_capacity(size);
        let mut pieces = found.read();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                // It may have been deleted meanwhile.
                Err(error) => {
                    let is_there = self.blobs.find(&task.tenant, id).await?.is_some();
                    return if is_there { Err(error) } else { Ok(Err(missing())) };
                }
            }
        }
        Ok(Ok(bytes))
    }
}

/// Decodes the frames of a video that the model sees, and resizes each at once.
fn frames(
    engine: &Engine,
    bytes: &[u8],
    limits: &VideoLimits,
    programs: Option<&Programs>,
    pixels: PixelLimits,
) -> SeenAndSize {
    let found = video::look_up(bytes, limits, programs).map_err(unusable)?;
    let chosen = engine.choose_frames(&found.times, found.fps, pixels.min, pixels.max);
    let mut chosen = chosen.map_err(unusable)?;
    let (indices, mut problem) = (chosen.indices().to_vec(), None);
    let mut size = (0, 0);
    let mut take = |frame: Image| {
        size = (frame.width, frame.height);
        if problem.is_none() {
            problem = chosen.add(&frame).err();
        }
    };
    found.decode(bytes, limits, programs, &indices, &mut take).map_err(unusable)?;
    match problem {
        Some(problem) => Err(unusable(problem)),
        None => Ok((Visual::Video(chosen.finish().map_err(unusable)?), size)),
    }
}

/// What is said of bytes on which a decoder panics.
const FAILED: &str = "its decoder failed; save it in another format";

/// Creates the error of a task whose image or video is unusable.
fn unusable(problem: impl ToString) -> TaskError {
    TaskError::new(ErrorType::InvalidRequest, problem.to_string())
}

/// The semaphores are never closed.
fn stopped(error: tokio::sync::AcquireError) -> TaskError {
    TaskError::new(ErrorType::EngineError, "the worker stops").caused_by(&error)
}
