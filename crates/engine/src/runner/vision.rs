//! The part of an engine that sees: a projector beside a text model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::EngineOptions;
use crate::api::{GenerateError, ImageInput};
use crate::architecture::ModelConfig;
use crate::injected::InjectedRows;
use crate::text::Tokenizer;
use crate::vision::encoder::{EncodeError, Encoder};
use crate::vision::prompt::{Expanded, Media, VisionTokens, expand};
use crate::vision::read::TowerFile;
use crate::vision::{Precision, Tower, TowerSpec};
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
    /// Opens the projector that the options name, or the one beside the model's file if it fits. `None` if there is
    /// none.
    ///
    /// # Errors
    /// If the one that is named is damaged, not supported, or does not fit the model.
    pub(super) fn open(
        model: &ModelFile,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
        options: &EngineOptions,
    ) -> Result<Option<Self>, LoadError> {
        match (&options.projector, model, config.mrope) {
            (Some(path), _, Some(_)) => Self::fitting(path, config, tokenizer).map(Some),
            (Some(path), _, None) => Err(LoadError::InvalidOption(format!(
                "the projector {} is for a model that sees; the architecture {} has no positions for images",
                path.display(),
                config.architecture.name
            ))),
            (None, ModelFile::Path(model), Some(_)) => {
                let Some(path) = beside(model) else { return Ok(None) };
                match Self::fitting(&path, config, tokenizer) {
                    Ok(projector) => Ok(Some(projector)),
                    // It was not asked for, and may belong to another model of the folder.
                    Err(error) => {
                        tracing::warn!("the model answers text only: {error}");
                        Ok(None)
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// Opens a projector and checks that it fits the model.
    fn fitting(
        path: &Path,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Self, LoadError> {
        let file = TowerFile::open(path)?;
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
            image: token("<|image_pad|>")?,
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

    /// Replaces the pad token of each image by as many as it has rows.
    pub(super) fn expand(
        &self,
        tokens: &[u32],
        images: &[ImageInput],
    ) -> Result<Expanded, GenerateError> {
        let merge = self.encoder.tower().spec().merge;
        let media = images.iter().map(|ImageInput { image, pixels }| {
            let grid = self.encoder.grid(image, *pixels).map_err(refused)?;
            Ok(Media::Image(grid.merged(merge).patches()))
        });
        let media: Result<Vec<Media>, GenerateError> = media.collect();
        let invalid = |error: crate::vision::prompt::ExpandError| {
            GenerateError::InvalidRequest(error.to_string())
        };
        expand(tokens, &media?, self.tokens).map_err(invalid)
    }

    /// Encodes the images of a prompt, whose rows begin at `starts`; waits for them.
    pub(super) fn encode(
        &self,
        images: &[ImageInput],
        starts: &[usize],
    ) -> Result<Vec<InjectedRows>, GenerateError> {
        let rows = images.iter().zip(starts).map(|(ImageInput { image, pixels }, start)| {
            let encoded = self.encoder.encode(&Arc::clone(image), *pixels).map_err(refused)?;
            Ok(encoded.at(*start))
        });
        rows.collect()
    }
}

fn refused(error: EncodeError) -> GenerateError {
    match error {
        EncodeError::Image(_) | EncodeError::Range { .. } => {
            GenerateError::InvalidRequest(error.to_string())
        }
        EncodeError::Stopped => GenerateError::Stopped,
        EncodeError::Failed(problem) => GenerateError::Compute(problem),
    }
}

/// Returns the projector in the folder of a model's file: the only file whose name begins with `mmproj`, or, among
/// several, none, since projectors of different models are often in one folder.
fn beside(model: &Path) -> Option<PathBuf> {
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
