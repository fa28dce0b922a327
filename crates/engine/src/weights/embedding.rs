//! From tokens to their rows of the embedding.

use candle_core::Result;

use crate::gguf::{GgufFile, TensorInfo};
use crate::kernels::dequantize;

/// The embedding, read row by row from the file where it lies: a step wants few of its rows, and
/// where it is the head too, that holds it a second time in the form that multiplies.
#[derive(Debug)]
pub struct Embedding {
    file: GgufFile,
    /// `[vocab, hidden]`
    info: TensorInfo,
}

impl Embedding {
    pub(super) fn new(file: GgufFile, info: TensorInfo) -> Self {
        Self { file, info }
    }

    /// The rows of some tokens, `[tokens, hidden]`.
    pub fn rows(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let (vocab, hidden) = (self.info.shape[0], self.info.shape[1]);
        let bytes = self.file.data(&self.info);
        let row_bytes = bytes.len() / vocab;
        for (token, out) in tokens.iter().zip(out.chunks_exact_mut(hidden)) {
            let Some(row) = bytes.chunks_exact(row_bytes).nth(*token as usize) else {
                candle_core::bail!("token {token} is unknown: the model has {vocab}")
            };
            dequantize(self.info.dtype, row, out)?;
        }
        Ok(())
    }
}
