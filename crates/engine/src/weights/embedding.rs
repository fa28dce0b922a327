//! The token embedding.

use candle_core::Result;

use crate::gguf::{GgufFile, TensorInfo};
use crate::kernels::dequantize;
use crate::safetensors;

/// The embedding, whose rows are read from the mapped file: a step needs few of them. In a tied
/// model the head holds the same weights a second time, in the form that the kernels multiply.
#[derive(Debug)]
pub struct Embedding(Source);

/// `[vocab, hidden]`
#[derive(Debug)]
enum Source {
    Gguf { file: GgufFile, info: TensorInfo },
    Safetensors(safetensors::Rows),
}

impl Embedding {
    pub(super) fn of_gguf(file: GgufFile, info: TensorInfo) -> Self {
        Self(Source::Gguf { file, info })
    }

    pub(super) fn of_safetensors(rows: safetensors::Rows) -> Self {
        Self(Source::Safetensors(rows))
    }

    /// Writes the rows of `tokens` to `out`, `[tokens, hidden]`.
    ///
    /// # Errors
    /// When a token is not in the vocabulary.
    pub fn rows(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let (vocab, hidden) = match &self.0 {
            Source::Gguf { info, .. } => (info.shape[0], info.shape[1]),
            Source::Safetensors(rows) => rows.shape(),
        };
        for (token, out) in tokens.iter().zip(out.chunks_exact_mut(hidden)) {
            let index = *token as usize;
            if index >= vocab {
                candle_core::bail!("token {token} is unknown: the vocabulary has {vocab} tokens")
            }
            match &self.0 {
                Source::Gguf { file, info } => {
                    let bytes = file.data(info);
                    let row_bytes = bytes.len() / vocab;
                    let row = &bytes[index * row_bytes..(index + 1) * row_bytes];
                    dequantize(info.dtype, row, out)?;
                }
                Source::Safetensors(rows) => rows.read(index, out),
            }
        }
        Ok(())
    }
}
