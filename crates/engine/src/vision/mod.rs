//! Images and videos for models that see: pixels, patches, the tower that turns them to rows, and their positions.
//!
//! ```text
//! bytes ─ media ──▶ Image ─ size, resample ─▶ Image ─ patches ─▶ Patches ─ tower ─▶ Encoded rows
//!                                                                                     │
//! tokens with one pad per image ─ prompt ─▶ tokens with one pad per row ─ positions ──┴─▶ InjectedRows
//! ```
//!
//! The results equal those of transformers' processors and towers; `docs/VISION.md` has the differences.
//!
//! - [`media`]: recognizes and decodes files of images; a crate that the gateway shares.
//! - [`size`]: the size to which an image is resized.
//! - [`resample`]: resizes by bicubic interpolation with antialiasing.
//! - [`spec`]: describes the tower of a family.
//! - [`patches`]: normalizes pixels and orders them by patches.
//! - [`read`]: reads a tower's weights from a projector (mmproj) in GGUF, or from safetensors.
//! - [`tower`]: computes the rows.
//! - [`encoder`]: encodes images on threads of its own, each once.
//! - [`positions`]: the positions of rows in time, height and width.
//! - [`video`]: chooses the frames of a video, their times and their size.
//! - [`prompt`]: replaces each pad token by as many as its image has rows.

pub mod encoder;
pub mod patches;
pub mod positions;
pub mod prompt;
pub mod read;
pub mod resample;
pub mod size;
pub mod spec;
pub mod tower;
pub mod video;
mod visual;

pub use media::{Image, ImageError, ImageLimits, decode};

pub use encoder::{EncodedImage, Encoder, EncoderOptions, ResizedImage};
pub use patches::{Grid, Patches};
pub use size::PixelRange;
pub use spec::{Family, Precision, TowerSpec};
pub use tower::{Encoded, Tower};
pub use visual::{ResizedVideo, VideoError, VideoFrames, Visual};
