//! Products with quantized weights, packed once for the vector units.
//!
//! ```text
//!            inputs ─▶
//! outputs  ┌──────────┬──────────┬──
//!    │   0 │ block    │ block    │        A panel is sixteen rows. Its blocks follow one another;
//!    ▼   1 │ block    │ block    │        in a block the same word (4 bytes) of all sixteen rows
//!        : │          │          │        is contiguous, so that one load of 64 bytes feeds
//!       15 ├──────────┼──────────┼──      sixteen sums. The size is that of the file's format.
//!       16 │          │          │
//! ```
//!
//! - [`format`]: the trait of a weight format. One file each: `q4_k`, `q5_k`, `q6_k`, `q8_0`, `q4_0`, `iq4`, `mxfp4`.
//! - [`products`]: steps that several of them share.
//! - [`decoded`]: formats of grids, which are decoded before they are multiplied.
//! - [`activations`]: the other factor, quantized in blocks of 32 and laid out in tiles of columns.
//! - [`lanes`]: the vector operations, for each [`level`].
//! - [`multiply`](fn@multiply): multiplies panels by tiles on all threads.

mod activations;
mod decoded;
mod format;
mod iq4;
mod lanes;
mod level;
mod multiply;
mod mxfp4;
mod products;
mod q4_0;
mod q4_k;
mod q5_k;
mod q6_k;
mod q8_0;

#[cfg(test)]
mod tests;

use std::io;

use super::arena::Allocation;
use super::grids::{self, Grid};
use super::parallel::{SharedOut, for_pieces};
use crate::weight_format::WeightFormat;
use candle_core::quantized::GgmlDType;

pub(crate) use activations::Activations;
use format::Format;
pub(super) use level::Level;
pub(crate) use multiply::multiply;

/// Rows of a panel: as many as the widest register has f32 lanes.
const PANEL_ROWS: usize = 16;

/// Bytes of the longest block of a row: that of Q6_K.
const LONGEST_BLOCK: usize = 210;

/// The formats that have kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Q4_0,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
    /// A format that is decoded first.
    Grid(Grid),
}

impl Kind {
    fn of(format: WeightFormat) -> Option<Self> {
        let dtype = match format {
            WeightFormat::Candle(dtype) => dtype,
            WeightFormat::Iq4Nl => return Some(Self::Iq4Nl),
            WeightFormat::Iq4Xs => return Some(Self::Iq4Xs),
            WeightFormat::Mxfp4 => return Some(Self::Mxfp4),
            grid => return Grid::of(grid).map(Self::Grid),
        };
        match dtype {
            GgmlDType::Q4_0 => Some(Self::Q4_0),
            GgmlDType::Q8_0 => Some(Self::Q8_0),
            GgmlDType::Q4K => Some(Self::Q4K),
            GgmlDType::Q5K => Some(Self::Q5K),
            GgmlDType::Q6K => Some(Self::Q6K),
            _ => None,
        }
    }
}

/// Evaluates `$body` with `$format` as the format type in which panels of `$kind` are multiplied.
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr) => {{
        use $crate::kernels::packed::{Kind, decoded, iq4, mxfp4, q4_0, q4_k, q5_k, q6_k, q8_0};
        match $kind {
            Kind::Q4_0 => {
                type $format = q4_0::Q4;
                $body
            }
            Kind::Q8_0 => {
                type $format = q8_0::Q8;
                $body
            }
            Kind::Q4K => {
                type $format = q4_k::Q4K;
                $body
            }
            Kind::Q5K => {
                type $format = q5_k::Q5K;
                $body
            }
            Kind::Q6K => {
                type $format = q6_k::Q6K;
                $body
            }
            Kind::Iq4Nl => {
                type $format = iq4::Nl;
                $body
            }
            Kind::Iq4Xs => {
                type $format = iq4::Xs;
                $body
            }
            Kind::Mxfp4 => {
                type $format = mxfp4::Mx4;
                $body
            }
            Kind::Grid(_) => {
                type $format = decoded::Decoded;
                $body
            }
        }
    }};
}
use with_format;

/// A packed weight `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Packed {
    kind: Kind,
    outputs: usize,
    inputs: usize,
    panel_bytes: usize,
    /// All panels, each `panel_bytes` long.
    panels: Allocation,
}

impl Packed {
    /// Packs a weight `[outputs, inputs]` from the bytes of its file format. Returns `None` if
    /// there is no kernel for the format or the machine; the caller then uses candle's product. Formats
    /// that candle does not know are packed on every machine.
    ///
    /// # Errors
    /// When `bytes` does not have the length of such a weight, or memory cannot be mapped.
    pub(crate) fn new(
        format: WeightFormat,
        outputs: usize,
        inputs: usize,
        bytes: &[u8],
    ) -> io::Result<Option<Self>> {
        let fast = Level::best() != Level::Portable;
        let kind = Kind::of(format).filter(|_| fast || format.candle().is_none());
        kind.map(|kind| Self::pack_any(kind, outputs, inputs, bytes)).transpose()
    }

    fn pack_any(kind: Kind, outputs: usize, inputs: usize, bytes: &[u8]) -> io::Result<Self> {
        if let Kind::Grid(grid) = kind {
            let block = (grids::BLOCK, grid.block_bytes());
            return Self::pack_blocks(kind, block, decoded::pack, outputs, inputs, bytes);
        }
        with_format!(kind, F => {
            Self::pack_blocks(kind, (F::BLOCK, F::BYTES), F::pack, outputs, inputs, bytes)
        })
    }

    /// Packs blocks of so many numbers and bytes.
    fn pack_blocks(
        kind: Kind,
        (block_size, block_bytes): (usize, usize),
        pack: impl Fn([&[u8]; PANEL_ROWS], &mut [u8]) + Sync,
        outputs: usize,
        inputs: usize,
        bytes: &[u8],
    ) -> io::Result<Self> {
        let row_bytes = inputs / block_size * block_bytes;
        if !inputs.is_multiple_of(block_size) || bytes.len() != outputs * row_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} bytes are not {outputs} x {inputs} weights of {kind:?}", bytes.len()),
            ));
        }
        let panel_bytes = PANEL_ROWS * row_bytes;
        let panels = outputs.div_ceil(PANEL_ROWS);
        let mut memory = Allocation::zeroed(panels * panel_bytes)?;
        let shared = SharedOut::new(&mut memory);
        for_pieces(panels, bytes.len(), |range| {
            for panel in range {
                // SAFETY: each panel is written by one thread.
                let out = unsafe { shared.part(panel * panel_bytes..(panel + 1) * panel_bytes) };
                for (block, out) in out.chunks_exact_mut(PANEL_ROWS * block_bytes).enumerate() {
                    // Rows that pad the last panel are zero.
                    pack(
                        std::array::from_fn(|row| {
                            let start =
                                (panel * PANEL_ROWS + row) * row_bytes + block * block_bytes;
                            bytes.get(start..start + block_bytes).unwrap_or(&[0; LONGEST_BLOCK])
                        }),
                        out,
                    );
                }
            }
        });
        Ok(Self { kind, outputs, inputs, panel_bytes, panels: memory })
    }

    /// The number of outputs: the rows of the weight.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs: the length of a row.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The bytes of all panels.
    pub(crate) fn bytes(&self) -> usize {
        self.panels.len()
    }

    fn num_panels(&self) -> usize {
        self.outputs.div_ceil(PANEL_ROWS)
    }

    fn panel(&self, index: usize) -> &[u8] {
        &self.panels[index * self.panel_bytes..(index + 1) * self.panel_bytes]
    }
}
