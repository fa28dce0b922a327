//! What can be wrong with a GGUF file.

/// What can be wrong with a GGUF file. Every message says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("it is no GGUF file: it begins with {found:02x?}, not with \"GGUF\"")]
    BadMagic {
        /// What stands there instead, at most four bytes.
        found: Vec<u8>,
    },
    /// Something else that often stands in place of a model.
    #[error("{0}")]
    Foreign(String),
    /// The other parts of a split file cannot be had.
    #[error("{0}")]
    Split(String),
    /// A version this reader does not know.
    #[error("its GGUF version is {version}; supported are 2 and 3 (little-endian)")]
    UnsupportedVersion {
        /// The version the file claims.
        version: u32,
    },
    /// The file ends too early.
    #[error("it is truncated: {what} needs bytes {at}..{end}, the file has {len} bytes")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it begins.
        at: u64,
        /// Where it would end.
        end: u64,
        /// How long the file is.
        len: u64,
    },
    /// A count or length no file of this size can hold.
    #[error("{what} claims a length of {claimed}, more than the rest of the file can hold")]
    TooLong {
        /// What was being read.
        what: String,
        /// The length it claims.
        claimed: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// What was being read.
        what: String,
    },
    /// A metadata value of a type this reader does not know.
    #[error("metadata {key:?} has the value type {found}, which is not supported")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type's number, or its name.
        found: String,
    },
    /// Two entries bear one name.
    #[error("{what} {name:?} is there twice")]
    Duplicate {
        /// `metadata` or `tensor`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A metadata key is missing.
    #[error("metadata {key:?} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value is not of the type, or not in the range, that it must have.
    #[error("metadata {key:?} should be {expected}, but is {found}")]
    WrongValue {
        /// The key.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A tensor has a shape that cannot be.
    #[error("tensor {name:?} has the impossible shape {shape}: {problem}")]
    BadShape {
        /// The tensor.
        name: String,
        /// The shape as it stands in the file.
        shape: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor's data begins where none may begin.
    #[error("the data of tensor {name:?} begins at {offset}, no multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Where it begins, counted from the first tensor's data.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// The weights are in a format this engine cannot compute with.
    #[error(
        "tensor {name:?} has the type {found}, which is not supported; supported are {supported}"
    )]
    UnsupportedTensorType {
        /// The tensor.
        name: String,
        /// The type's name, or its number.
        found: String,
        /// What is supported.
        supported: String,
    },
    /// A tensor is missing.
    #[error("tensor {name:?} is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor does not have the shape the model's metadata asks for.
    #[error("tensor {name:?} has the shape {found:?}, the model's metadata asks for {expected:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// Its shape, rows first.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
}

impl GgufError {
    /// Whether no other copy of the file would help: it is sound and this engine cannot use it, or it is not
    /// what it was taken for.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Foreign(_)
                | Self::Split(_)
                | Self::UnsupportedVersion { .. }
                | Self::UnsupportedTensorType { .. }
                | Self::UnknownValueType { .. }
        )
    }
}
