//! The sizes in the metadata of a projector (mmproj): the keys of llama.cpp's `clip-impl.h`.

use super::super::size::PixelRange;
use super::super::spec::{CLIP_MEAN, Family, TowerSpec, Windows};
use crate::LoadError;
use crate::gguf::{Array, FromValue, GgufError, GgufFile, Value};

/// The supported kinds of projectors.
const SUPPORTED: &str = "qwen2vl_merger, qwen2.5vl_merger and qwen3vl_merger";

/// Reads the sizes of a tower.
pub(super) fn spec(file: &GgufFile) -> Result<TowerSpec, LoadError> {
    let architecture: &str = file.require("general.architecture")?;
    if architecture != "clip" {
        return Err(file.unsupported(format!(
            "it is a model of the architecture {architecture:?}, not a projector (mmproj), which has \"clip\""
        )));
    }
    let kind = match file.get::<&str>("clip.vision.projector_type")? {
        Some(kind) => Some(kind),
        None => file.get("clip.projector_type")?,
    };
    let family = match kind {
        Some("qwen2vl_merger") => Family::Qwen2Vl,
        Some("qwen2.5vl_merger") => Family::Qwen25Vl,
        Some("qwen3vl_merger") => Family::Qwen3Vl,
        Some(other) => {
            return Err(file.unsupported(format!(
                "its projector is of the kind {other:?}; supported are {SUPPORTED}"
            )));
        }
        None => {
            return Err(file.error(GgufError::MissingKey { key: "clip.projector_type".to_owned() }));
        }
    };
    let reader = Reader(file);
    let out = reader.count("projection_dim")?;
    let common = TowerSpec::of_family(family, out);
    let width = reader.count("embedding_length")?;
    let depth = reader.count("block_count")?;
    let (mean, deviation) = reader.normalization(family, &common)?;
    let range = PixelRange {
        min: reader.optional::<u32>("image_min_pixels")?.map_or(common.pixels.min, u64::from),
        max: reader.optional::<u32>("image_max_pixels")?.map_or(common.pixels.max, u64::from),
    };
    if range.min > range.max {
        return Err(file.unsupported(format!(
            "its image_min_pixels {} is more than its image_max_pixels {}",
            range.min, range.max
        )));
    }
    Ok(TowerSpec {
        patch: reader.count("patch_size")?,
        merge: reader.optional::<u32>("spatial_merge_size")?.map_or(2, |size| size as usize),
        width,
        depth,
        heads: reader.count("attention.head_count")?,
        feed_forward: reader.feed_forward(width)?,
        eps: reader.optional("attention.layer_norm_epsilon")?.unwrap_or(common.eps),
        position_side: reader.position_side(family)?,
        deepstack: reader.deepstack(depth)?,
        windows: reader.windows(family, depth)?,
        mean,
        deviation,
        pixels: range,
        ..common
    })
}

struct Reader<'a>(&'a GgufFile);

impl<'a> Reader<'a> {
    fn optional<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>, LoadError> {
        self.0.get(&format!("clip.vision.{key}"))
    }

    fn count(&self, key: &str) -> Result<usize, LoadError> {
        self.0.require::<u32>(&format!("clip.vision.{key}")).map(|count| count as usize)
    }

    /// Projectors of 2024 have a width of 0; it is then that of the tensor.
    fn feed_forward(&self, width: usize) -> Result<usize, LoadError> {
        let stated = self.count("feed_forward_length")?;
        if stated > 0 {
            return Ok(stated);
        }
        let up = self.0.tensor("v.blk.0.ffn_up.weight").map(|info| info.shape.as_slice());
        Ok(match up {
            // The names of the two matrices may be exchanged.
            Some(&[outputs, inputs]) if inputs == width => outputs,
            Some(&[_, inputs]) => inputs,
            _ => 0,
        })
    }

    /// Some converters wrote CLIP's values for Qwen3-VL when a file was missing; its own are 0.5.
    fn normalization(
        &self,
        family: Family,
        common: &TowerSpec,
    ) -> Result<([f32; 3], [f32; 3]), LoadError> {
        let three = |key: &str| -> Result<Option<[f32; 3]>, LoadError> {
            let Some(values) = self.optional::<&[f32]>(key)? else { return Ok(None) };
            <[f32; 3]>::try_from(values).map(Some).map_err(|_| {
                self.0.error(GgufError::WrongValue {
                    key: format!("clip.vision.{key}"),
                    expected: "three numbers".to_owned(),
                    found: format!("{values:?}"),
                })
            })
        };
        let mean = three("image_mean")?.unwrap_or(common.mean);
        let deviation = three("image_std")?.unwrap_or(common.deviation);
        let is_clip = mean.iter().zip(CLIP_MEAN).all(|(a, b)| (a - b).abs() < 1e-4);
        if family == Family::Qwen3Vl && is_clip {
            tracing::warn!(
                "{}: it states CLIP's mean and deviation of pixels, which a converter wrote by mistake; \
                 0.5 and 0.5 are used, as Qwen3-VL requires",
                self.0.label()
            );
            return Ok((common.mean, common.deviation));
        }
        Ok((mean, deviation))
    }

    /// Returns the side of the square of learned positions, by the tensor's rows.
    fn position_side(&self, family: Family) -> Result<Option<usize>, LoadError> {
        if family != Family::Qwen3Vl {
            return Ok(None);
        }
        let name = "v.position_embd.weight";
        let rows = self.0.tensor(name).and_then(|info| info.shape.first().copied());
        let Some(rows) = rows else {
            return Err(self.0.error(GgufError::MissingTensor { name: name.to_owned() }));
        };
        let side = rows.isqrt();
        match side * side == rows {
            true => Ok(Some(side)),
            false => Err(self.0.unsupported(format!("tensor {name:?} has {rows} rows, no square"))),
        }
    }

    fn deepstack(&self, depth: usize) -> Result<Vec<usize>, LoadError> {
        let key = "clip.vision.is_deepstack_layers";
        match self.0.metadata(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(Array::Bool(flags))) if flags.len() == depth => {
                Ok((0..depth).filter(|block| flags[*block]).collect())
            }
            Some(other) => Err(self.0.error(GgufError::WrongValue {
                key: key.to_owned(),
                expected: format!("{depth} booleans"),
                found: format!("{other:?}").chars().take(80).collect(),
            })),
        }
    }

    fn windows(&self, family: Family, depth: usize) -> Result<Option<Windows>, LoadError> {
        if family != Family::Qwen25Vl {
            return Ok(None);
        }
        let pixels = self.optional::<u32>("window_size")?.unwrap_or(112) as usize;
        let token = self.count("patch_size")? * 2;
        let listed: Option<&[i64]> = self.optional("wa_layer_indexes")?;
        let pattern = self.optional::<u32>("n_wa_pattern")?.unwrap_or(0) as usize;
        let whole = match listed {
            Some(listed) => {
                listed.iter().filter_map(|block| usize::try_from(*block).ok()).collect()
            }
            // Every block whose number is a multiple of the pattern covers the whole image. A tower of more blocks than
            // there can be is refused later.
            None if pattern > 0 => {
                let depth = depth.min(TowerSpec::MAX_DEPTH);
                (0..depth).filter(|block| (block + 1) % pattern == 0).collect()
            }
            None => {
                return Err(self
                    .0
                    .error(GgufError::MissingKey { key: "clip.vision.n_wa_pattern".to_owned() }));
            }
        };
        Ok(Some(Windows { side: pixels / token.max(1), whole }))
    }
}
