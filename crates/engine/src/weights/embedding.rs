//! The token embedding.

use std::sync::{Mutex, PoisonError};

use candle_core::{Error, Result};

use crate::LoadError;
use crate::gguf::{GgufFile, TensorInfo};
use crate::kernels::dequantize;
use crate::safetensors;

/// The embedding, whose rows are read from the file: a step needs few of them. In a tied
/// model the head holds the same weights a second time, in the form that the kernels multiply.
#[derive(Debug)]
pub struct Embedding {
    source: Source,
    /// A row as it stands in the file. The memory stays for the next.
    row: Mutex<Vec<u8>>,
}

/// `[vocab, hidden]`
#[derive(Debug)]
enum Source {
    Gguf { file: GgufFile, info: TensorInfo },
    Safetensors(safetensors::Rows),
}

impl Embedding {
    pub(super) fn of_gguf(file: GgufFile, info: TensorInfo) -> Self {
        Self::of(Source::Gguf { file, info })
    }

    pub(super) fn from_safetensors(rows: safetensors::Rows) -> Self {
        Self::of(Source::Safetensors(rows))
    }

    fn of(source: Source) -> Self {
        Self { source, row: Mutex::default() }
    }

    /// Writes the rows of `tokens` to `out`, `[tokens, hidden]`.
    ///
    /// # Errors
    /// When a token is not in the vocabulary, or the file can't be read.
    pub fn rows(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let (vocab, hidden) = match &self.source {
            Source::Gguf { info, .. } => (info.shape[0], info.shape[1]),
            Source::Safetensors(rows) => rows.shape(),
        };
        let mut buffer = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        for (token, out) in tokens.iter().zip(out.chunks_exact_mut(hidden)) {
            let index = *token as usize;
            if index >= vocab {
                candle_core::bail!("token {token} is unknown: the vocabulary has {vocab} tokens")
            }
            match &self.source {
                Source::Gguf { file, info } => {
                    let len = info.byte_len / vocab;
                    let row = file.piece(info, index * len, len, &mut buffer);
                    dequantize(info.dtype, row.map_err(Error::wrap)?, out)?;
                }
                Source::Safetensors(rows) => {
                    rows.read(index, out, &mut buffer).map_err(Error::wrap)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that nobody has written to the files since they were opened. A step does so once it has its
    /// rows: those that were read before the write are right, and of the others none is used.
    ///
    /// # Errors
    /// When a size or a time of modification has changed.
    pub fn check_unchanged(&self) -> std::result::Result<(), LoadError> {
        match &self.source {
            Source::Gguf { file, .. } => file.check_unchanged(),
            Source::Safetensors(rows) => rows.check_unchanged(),
        }
    }
}
