//! The weights of a tower.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::quantized::GgmlDType;

use super::super::spec::{Precision, TowerSpec, Windows};
use super::matrices::{self, BLOCK, Stored};
use super::names::{Layout, MergerPart, Names, Part};
use super::tensors::Tensors;
use crate::LoadError;
use crate::weights::Linear;

/// All weights of a tower.
#[derive(Debug)]
pub(in super::super) struct TowerWeights {
    pub(in super::super) patch: Linear,
    /// `[side * side, width]`
    pub(in super::super) positions: Option<Vec<f32>>,
    pub(in super::super) blocks: Vec<Block>,
    pub(in super::super) merger: Merger,
    pub(in super::super) deepstack: Vec<Merger>,
    /// The width of an MLP with its padding.
    pub(in super::super) feed_forward: usize,
    /// The bytes in memory.
    pub(in super::super) bytes: usize,
}

/// A norm over a row.
#[derive(Debug)]
pub(in super::super) struct Norm {
    pub(in super::super) weight: Vec<f32>,
    /// `None` for RMSNorm.
    pub(in super::super) bias: Option<Vec<f32>>,
}

/// A block of attention and an MLP.
#[derive(Debug)]
pub(in super::super) struct Block {
    pub(in super::super) norm1: Norm,
    pub(in super::super) qkv: Linear,
    pub(in super::super) out: Linear,
    pub(in super::super) norm2: Norm,
    pub(in super::super) mlp: Mlp,
}

/// An MLP.
#[derive(Debug)]
pub(in super::super) struct Mlp {
    pub(in super::super) gate: Option<Linear>,
    pub(in super::super) up: Linear,
    pub(in super::super) down: Linear,
}

/// Merges the patches of a token to a row of the text model.
#[derive(Debug)]
pub(in super::super) struct Merger {
    /// Over a patch, or for DeepStack over a token.
    pub(in super::super) norm: Norm,
    pub(in super::super) first: Linear,
    pub(in super::super) second: Linear,
}

/// Loads all tensors of a tower. Any other tensor is an error.
pub(super) fn load(
    tensors: &dyn Tensors,
    names: &Names,
    spec: &TowerSpec,
    precision: Precision,
) -> Result<TowerWeights, LoadError> {
    let loader =
        Loader { tensors, names, precision, taken: RefCell::default(), bytes: RefCell::new(0) };
    let padded = match precision {
        Precision::EightBit => spec.feed_forward.next_multiple_of(BLOCK),
        Precision::Full => spec.feed_forward,
    };
    let blocks: Result<_, LoadError> =
        (0..spec.depth).map(|block| loader.block(spec, block, padded)).collect();
    let merger = |name: &dyn Fn(MergerPart) -> String, norm_len: usize| {
        let inner = spec.token_len();
        Ok(Merger {
            norm: loader.norm(&name(MergerPart::Norm), norm_len, spec.rms())?,
            first: loader.linear(&name(MergerPart::First), [inner, inner], [inner, inner])?,
            second: loader.linear(
                &name(MergerPart::Second),
                [spec.out, inner],
                [spec.out, inner],
            )?,
        })
    };
    let deepstack: Result<_, LoadError> = (spec.deepstack.iter().enumerate())
        .map(|(index, block)| {
            merger(&|part| names.deepstack(index, *block, part), spec.token_len())
        })
        .collect();
    let weights = TowerWeights {
        patch: loader.patch(spec)?,
        positions: loader.positions(spec)?,
        blocks: blocks?,
        merger: merger(&|part| names.merger(part).to_owned(), spec.width)?,
        deepstack: deepstack?,
        feed_forward: padded,
        bytes: 0,
    };
    loader.refuse_others()?;
    Ok(TowerWeights { bytes: loader.bytes.into_inner(), ..weights })
}

struct Loader<'a> {
    tensors: &'a dyn Tensors,
    names: &'a Names,
    precision: Precision,
    /// The names of the tensors that were loaded.
    taken: RefCell<BTreeSet<String>>,
    /// The bytes that they take in memory.
    bytes: RefCell<usize>,
}

impl Loader<'_> {
    fn block(&self, spec: &TowerSpec, block: usize, padded: usize) -> Result<Block, LoadError> {
        let name = |part| self.names.part(block, part);
        let (width, ffn) = (spec.width, spec.feed_forward);
        let wide = |part| self.linear(&name(part), [ffn, width], [padded, width]);
        Ok(Block {
            norm1: self.norm(&name(Part::Norm1), width, spec.rms())?,
            qkv: self.qkv(spec, block)?,
            out: self.linear(&name(Part::Out), [width, width], [width, width])?,
            norm2: self.norm(&name(Part::Norm2), width, spec.rms())?,
            mlp: Mlp {
                gate: spec.gated().then(|| wide(Part::Gate)).transpose()?,
                up: wide(Part::Up)?,
                down: self.linear(&name(Part::Down), [width, ffn], [width, padded])?,
            },
        })
    }

    /// Loads queries, keys and values as one matrix.
    fn qkv(&self, spec: &TowerSpec, block: usize) -> Result<Linear, LoadError> {
        let names = self.names.qkv(block);
        let rows = 3 * spec.width / names.len();
        let parts: Result<Vec<Stored>, LoadError> = names
            .iter()
            .map(|name| self.stored(&format!("{name}.weight"), rows, spec.width))
            .collect();
        let biases: Result<Vec<Vec<f32>>, LoadError> =
            names.iter().map(|name| self.vector(&format!("{name}.bias"), rows)).collect();
        let (parts, bias) = (parts?, biases?.concat());
        let (outputs, inputs) = (3 * spec.width, spec.width);
        let same = parts.iter().all(|part| part.dtype == parts[0].dtype);
        let all = if same {
            let dtype = parts[0].dtype;
            let bytes = parts.into_iter().flat_map(|part| part.bytes).collect();
            Stored { dtype, outputs, inputs, bytes }
        } else {
            let numbers: candle_core::Result<Vec<Vec<f32>>> =
                parts.iter().map(Stored::numbers).collect();
            let numbers = numbers.map_err(|error| self.failed(&names[0], &error))?.concat();
            let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            Stored { dtype: GgmlDType::F32.into(), outputs, inputs, bytes }
        };
        self.make(&names[0], all, [outputs, inputs], Some(bias))
    }

    /// Loads a matrix with its bias, padded with zeros.
    fn linear(
        &self,
        name: &str,
        [outputs, inputs]: [usize; 2],
        padded: [usize; 2],
    ) -> Result<Linear, LoadError> {
        let mut bias = self.vector(&format!("{name}.bias"), outputs)?;
        bias.resize(padded[0], 0.0);
        let stored = self.stored(&format!("{name}.weight"), outputs, inputs)?;
        self.make(name, stored, padded, Some(bias))
    }

    fn make(
        &self,
        name: &str,
        stored: Stored,
        padded: [usize; 2],
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, LoadError> {
        let linear = stored
            .into_linear(self.precision, padded, bias)
            .map_err(|error| self.failed(name, &error))?;
        *self.bytes.borrow_mut() += linear.bytes();
        Ok(linear)
    }

    /// Loads the patch embedding as a matrix in f32: `[width, patch_len]`. It is a small part of all products.
    fn patch(&self, spec: &TowerSpec) -> Result<Linear, LoadError> {
        let names = self.names.patch_weights();
        let (frames, area) = (spec.temporal, spec.patch * spec.patch);
        if self.names.layout == Layout::Gguf && frames != names.len() {
            let problem =
                format!("its patches have {frames} frames; supported are {}", names.len());
            return Err(self.tensors.unsupported(problem));
        }
        let slices = match self.names.layout {
            Layout::Gguf => [spec.width, 3, spec.patch, spec.patch].to_vec(),
            Layout::Transformers => [spec.width, 3, frames, spec.patch, spec.patch].to_vec(),
        };
        let parts: Result<Vec<Vec<f32>>, LoadError> =
            names.iter().map(|name| self.numbers(name, &slices)).collect();
        let parts = parts?;
        // One channel of one output after the other, with its slices in time.
        let each = area * frames / parts.len();
        let mut weight = Vec::with_capacity(spec.width * spec.patch_len());
        for channel in 0..3 * spec.width {
            for part in &parts {
                weight.extend_from_slice(&part[channel * each..(channel + 1) * each]);
            }
        }
        let bias = spec.patch_bias().then(|| self.vector(self.names.patch_bias(), spec.width));
        let bytes = weight.iter().flat_map(|number| number.to_le_bytes()).collect();
        let shape = [spec.width, spec.patch_len()];
        let stored =
            Stored { dtype: GgmlDType::F32.into(), outputs: shape[0], inputs: shape[1], bytes };
        let linear = stored.into_linear(Precision::Full, shape, bias.transpose()?);
        let linear = linear.map_err(|error| self.failed(names[0], &error))?;
        *self.bytes.borrow_mut() += linear.bytes();
        Ok(linear)
    }

    /// Loads the learned positions, which always stay in f32.
    fn positions(&self, spec: &TowerSpec) -> Result<Option<Vec<f32>>, LoadError> {
        let shape = spec.position_side.map(|side| [side * side, spec.width]);
        let numbers =
            shape.map(|shape| self.numbers(self.names.positions(), &shape)).transpose()?;
        *self.bytes.borrow_mut() += numbers.as_ref().map_or(0, |n| size_of_val(n.as_slice()));
        Ok(numbers)
    }

    fn norm(&self, name: &str, len: usize, rms: bool) -> Result<Norm, LoadError> {
        let bias = (!rms).then(|| self.vector(&format!("{name}.bias"), len)).transpose()?;
        Ok(Norm { weight: self.vector(&format!("{name}.weight"), len)?, bias })
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.numbers(name, &[len])
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let (dtype, bytes) = self.tensors.tensor(name, shape)?;
        self.taken.borrow_mut().insert(name.to_owned());
        matrices::numbers(dtype, &bytes, shape).map_err(|error| self.failed(name, &error))
    }

    fn stored(&self, name: &str, outputs: usize, inputs: usize) -> Result<Stored, LoadError> {
        let (dtype, bytes) = self.tensors.tensor(name, &[outputs, inputs])?;
        self.taken.borrow_mut().insert(name.to_owned());
        Ok(Stored { dtype, outputs, inputs, bytes })
    }

    fn failed(&self, name: &str, error: &candle_core::Error) -> LoadError {
        self.tensors.unsupported(format!("tensor {name:?}: {error}"))
    }

    /// Refuses tensors that were not used, since the results would be wrong without a sign.
    fn refuse_others(&self) -> Result<(), LoadError> {
        let taken = self.taken.borrow();
        // Old versions of transformers saved the frequencies, which follow from the sizes.
        let harmless = |name: &str| name.ends_with("rotary_pos_emb.inv_freq");
        let other =
            self.tensors.names().into_iter().find(|name| !taken.contains(*name) && !harmless(name));
        match other {
            None => Ok(()),
            Some(name) => Err(self.tensors.unsupported(format!(
                "it has the tensor {name:?}, which is no part of a supported vision tower"
            ))),
        }
    }
}

impl Windows {
    /// Whether a block's attention covers the whole image.
    pub(in super::super) fn is_whole(&self, block: usize) -> bool {
        self.whole.contains(&block)
    }
}
