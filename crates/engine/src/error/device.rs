//! Interprets errors of a GPU.

use super::LoadError;

/// Whether an error of a step came from the device. After one, results computed there cannot be
/// trusted, and most such errors leave the device unusable for the process.
pub(crate) fn is_lost(error: &candle_core::Error) -> bool {
    match error {
        candle_core::Error::Cuda(_) => true,
        candle_core::Error::WithBacktrace { inner, .. } => is_lost(inner),
        candle_core::Error::Context { inner, .. } => is_lost(inner),
        _ => false,
    }
}

/// Converts an error during loading.
pub(crate) fn load_error(file: &str, error: &candle_core::Error) -> LoadError {
    let problem = error.to_string();
    if problem.contains("OUT_OF_MEMORY") {
        return LoadError::OutOfMemory(format!(
            "{file} does not fit into the GPU's memory; choose a smaller model or quantization, or a GPU that \
             nothing else uses ({problem})"
        ));
    }
    LoadError::Compute { file: file.to_owned(), problem }
}
