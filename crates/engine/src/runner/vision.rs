//! The part of an engine that sees: a projector beside a text model, or the tower in the same folder.

use std::path::{Path, PathBuf};

use super::EngineOptions;
use crate::api::GenerateError;
use crate::architecture::ModelConfig;
use crate::injected::InjectedRows;
use crate::text::{IMAGE_PAD, Tokenizer};
use crate::vision::encoder::{EncodeError, Encoder};
use crate::vision::positions::{offsets, time_step};
use crate::vision::prompt::{Expanded, Media, TimedFrames, VisionTokens, expand, timestamp};
use crate::vision::read::TowerFile;
use crate::vision::{
    Family, Grid, Image, Precision, ResizedImage, ResizedVideo, Tower, TowerSpec, VideoFrames,
    Visual,
};
use crate::{LoadError, ModelFile};

/// Encodes the images of requests.
#[derive(Debug)]
pub(super) struct Vision {
    encoder: Encoder,
    tokens: VisionTokens,
}

/// A projector whose headers were read and that fits the text model.
pub(super) struct Projector {
    file: TowerFile,
    spec: TowerSpec,
    tokens: VisionTokens,
}

impl Projector {
    /// Opens the projector that the options name, the tower in the model's folder of safetensors, or the projector
    /// beside the model's GGUF file if it fits. `None` if there is none.
    ///
    /// # Errors
    /// If the one that is named, or the tower of the folder, is damaged, not supported, or does not fit the model.
    pub(super) fn open(
        model: &ModelFile,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
        options: &EngineOptions,
    ) -> Result<Option<Self>, LoadError> {
        match (&options.projector, model, config.mrope) {
            (Some(path), _, Some(_)) => {
                Self::fitting(TowerFile::open(path)?, config, tokenizer).map(Some)
            }
            (Some(path), _, None) => Err(LoadError::InvalidOption(format!(
                "the projector {} is for a model that sees; the architecture {} has no positions for images",
                path.display(),
                config.architecture.name
            ))),
            (None, ModelFile::Path(model), Some(_)) => {
                let Some(path) = beside(model) else { return Ok(None) };
                let fitting =
                    TowerFile::open(&path).and_then(|file| Self::fitting(file, config, tokenizer));
                match fitting {
                    Ok(projector) => Ok(Some(projector)),
                    // It was not asked for, and may belong to another model of the folder.
                    Err(error) => {
                        tracing::warn!("the model answers text only: {error}");
                        Ok(None)
                    }
                }
            }
            (None, ModelFile::Safetensors { folder, .. }, Some(_)) => {
                match TowerFile::of_folder(folder)? {
                    Some(file) => Self::fitting(file, config, tokenizer).map(Some),
                    None => {
                        tracing::warn!(
                            "the model answers text only: {} has no tensors of a vision tower",
                            folder.display()
                        );
                        Ok(None)
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// Checks that a projector fits the model.
    fn fitting(
        file: TowerFile,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Self, LoadError> {
        let spec = file.spec()?;
        let layers = spec.deepstack.len();
        if spec.out != config.hidden || layers != config.deepstack_layers {
            return Err(LoadError::Unsupported {
                file: file.label().to_owned(),
                problem: format!(
                    "it makes rows of {} numbers with DeepStack in {layers} layers, the model {} has rows of {} and \
                     {} layers: take the projector that was published with the model",
                    spec.out, config.architecture.name, config.hidden, config.deepstack_layers
                ),
            });
        }
        let token = |text: &str| {
            tokenizer.vocabulary().id_of(text).ok_or_else(|| LoadError::Unsupported {
                file: file.label().to_owned(),
                problem: format!("the model's vocabulary has no token {text}, which images need"),
            })
        };
        let tokens = VisionTokens {
            image: token(IMAGE_PAD)?,
            video: token("<|video_pad|>")?,
            start: token("<|vision_start|>")?,
            end: token("<|vision_end|>")?,
        };
        Ok(Self { file, spec, tokens })
    }

    /// Returns about the bytes that it will use: weights, workspaces and kept rows.
    pub(super) fn bytes(&self, options: &EngineOptions) -> usize {
        let images = &options.images;
        let patches = images.max_tokens * self.spec.token_patches();
        let workspace = self.spec.workspace_bytes(patches).saturating_mul(images.threads.max(1));
        let weights = self.spec.weight_bytes(Precision::default());
        weights.saturating_add(workspace).saturating_add(images.cache_bytes)
    }

    /// Loads the weights and starts the encoder.
    pub(super) fn load(self, options: &EngineOptions) -> Result<Vision, LoadError> {
        let tower = Tower::from_file(&self.file, Precision::default())?;
        let encoder = Encoder::start(tower, options.images)?;
        tracing::info!(
            "loaded the projector {}: {} MiB of weights, {} MiB for images, at most {} tokens an image",
            self.file.label(),
            encoder.tower().weight_bytes() >> 20,
            encoder.beside_weights() >> 20,
            options.images.max_tokens,
        );
        Ok(Vision { encoder, tokens: self.tokens })
    }
}

impl Vision {
    /// Returns the bytes that it uses at most beside its weights.
    pub(super) fn beside_weights(&self) -> usize {
        self.encoder.beside_weights()
    }

    /// Returns the encoder.
    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Resizes an image to a number of pixels between the bounds; those of the model if they are `None`.
    pub(super) fn resize(
        &self,
        image: &Image,
        min: Option<u64>,
        max: Option<u64>,
    ) -> Result<ResizedImage, GenerateError> {
        let range = self.encoder.tower().spec().pixels.with(min, max);
        self.encoder.resize(image, Some(range)).map_err(refused)
    }

    /// Chooses the frames of a video.
    pub(super) fn choose_frames(
        &self,
        times: &[f64],
        fps: f64,
        min: Option<u64>,
        max: Option<u64>,
    ) -> Result<VideoFrames, GenerateError> {
        VideoFrames::choose(&self.encoder, times, fps, (min, max))
            .map_err(|error| GenerateError::InvalidRequest(error.to_string()))
    }

    /// Replaces the pad token of each image and video by as many as it has rows. `encode` returns the tokens of a text.
    pub(super) fn expand(
        &self,
        tokens: &[u32],
        visuals: &[Visual],
        encode: &dyn Fn(&str) -> Result<Vec<u32>, GenerateError>,
    ) -> Result<Expanded, GenerateError> {
        let media = visuals.iter().map(|visual| match visual {
            Visual::Image(image) => self.rows(image).map(Media::Image),
            Visual::Video(video) if self.is_timed() => {
                let pairs = video.pairs.iter().zip(&video.times).map(|(pair, (first, last))| {
                    let time = encode(&timestamp(*first, *last))?;
                    Ok(TimedFrames { time, rows: self.rows(pair)? })
                });
                pairs.collect::<Result<_, GenerateError>>().map(Media::Timed)
            }
            Visual::Video(video) => {
                let rows = video.pairs.iter().map(|pair| self.rows(pair));
                rows.sum::<Result<usize, GenerateError>>().map(Media::Video)
            }
        });
        let media: Result<Vec<Media>, GenerateError> = media.collect();
        let invalid = |error: crate::vision::prompt::ExpandError| {
            GenerateError::InvalidRequest(error.to_string())
        };
        expand(tokens, &media?, self.tokens).map_err(invalid)
    }

    /// Returns the number of an image's rows.
    fn rows(&self, image: &ResizedImage) -> Result<usize, GenerateError> {
        let grid = self.encoder.grid(image).map_err(refused)?;
        Ok(grid.merged(self.encoder.tower().spec().merge).patches())
    }

    /// Returns whether the time of a video's frames is a text before each pair.
    fn is_timed(&self) -> bool {
        matches!(self.encoder.tower().spec().family, Family::Qwen3Vl)
    }

    /// Encodes the images and videos of a prompt, whose rows begin at `starts`; waits for them until `given_up` returns
    /// true.
    pub(super) fn encode(
        &self,
        visuals: &[Visual],
        starts: &[usize],
        given_up: &dyn Fn() -> bool,
    ) -> Result<Vec<InjectedRows>, GenerateError> {
        let mut starts = starts.iter().copied();
        let mut next = || {
            starts
                .next()
                .ok_or_else(|| GenerateError::Compute("a prompt without places".to_owned()))
        };
        let one = |image: &ResizedImage, start| {
            Ok(self.encoder.encode(image, given_up).map_err(refused)?.at(start))
        };
        let mut rows = Vec::new();
        for visual in visuals {
            match visual {
                Visual::Image(image) => rows.push(one(image, next()?)?),
                Visual::Video(video) if self.is_timed() => {
                    for pair in &video.pairs {
                        rows.push(one(pair, next()?)?);
                    }
                }
                Visual::Video(video) => rows.push(self.whole(video, next()?, given_up)?),
            }
        }
        Ok(rows)
    }

    /// Encodes a video whose rows follow one another. Frames attend to their pair alone, so pairs are encoded one by one.
    fn whole(
        &self,
        video: &ResizedVideo,
        start: usize,
        given_up: &dyn Fn() -> bool,
    ) -> Result<InjectedRows, GenerateError> {
        let spec = self.encoder.tower().spec();
        let (mut values, mut grid) = (Vec::new(), Grid { time: 0, height: 0, width: 0 });
        for pair in &video.pairs {
            let encoded = self.encoder.encode(pair, given_up).map_err(refused)?;
            values.extend_from_slice(&encoded.rows);
            grid = Grid { time: grid.time + 1, ..encoded.grid };
        }
        let positions = offsets(grid, spec.merge, time_step(spec, video.fps));
        let (values, added) = (values.into(), Vec::new().into());
        Ok(InjectedRows { start, positions, values, added, hash: video.hash() })
    }
}

fn refused(error: EncodeError) -> GenerateError {
    match error {
        EncodeError::Image(_) | EncodeError::Range { .. } | EncodeError::OtherModel => {
            GenerateError::InvalidRequest(error.to_string())
        }
        EncodeError::GivenUp => GenerateError::GivenUp,
        EncodeError::Stopped => GenerateError::Stopped,
        EncodeError::Failed(problem) => GenerateError::Compute(problem),
    }
}

/// Returns the projector in the folder of a model's file: the only file whose name begins with `mmproj`, or, among
/// several, none, since projectors of different models are often in one folder.
pub(crate) fn beside(model: &Path) -> Option<PathBuf> {
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let mut found: Vec<PathBuf> = (entries.flatten().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
            name.is_some_and(|name| name.contains("mmproj") && name.ends_with(".gguf"))
        })
        .filter(|path| path != model)
        .collect();
    found.sort();
    match &found[..] {
        [] => None,
        [one] => Some(one.clone()),
        several => {
            let names = several.iter().map(|path| path.display().to_string());
            tracing::warn!(
                "several projectors are beside the model {}: {}; name one to send images, or leave one",
                model.display(),
                names.collect::<Vec<_>>().join(", ")
            );
            None
        }
    }
}
