//! Errors of GGUF files.

/// The problem with a GGUF file. Every message says where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("it is no GGUF file: it begins with {found:02x?}, not with \"GGUF\"")]
    BadMagic {
        /// The first bytes of the file, at most four.
        found: Vec<u8>,
    },
    /// The file is something else that is often found in place of a model.
    #[error("{0}")]
    Foreign(String),
    /// Other parts of a split file are missing or do not match.
    #[error("{0}")]
    Split(String),
    /// The version is not supported.
    #[error("its GGUF version is {version}; supported are 2 and 3 (little-endian)")]
    UnsupportedVersion {
        /// The version in the file's header.
        version: u32,
    },
    /// The file ends before a value that it should have.
    #[error("it is truncated: {what} needs bytes {at}..{end}, the file has {len} bytes")]
    Truncated {
        /// The value.
        what: String,
        /// The value's first byte.
        at: u64,
        /// The end of the value, exclusive.
        end: u64,
        /// The size of the file in bytes.
        len: u64,
    },
    /// A count or length is too large for the file's size.
    #[error("{what} claims a length of {claimed}, more than the rest of the file can hold")]
    TooLong {
        /// The value.
        what: String,
        /// The length in the file.
        claimed: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// The value.
        what: String,
    },
    /// The type of a metadata value is not supported.
    #[error("metadata {key:?} has the value type {found}, which is not supported")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type's number, or its name.
        found: String,
    },
    /// Two entries have the same name.
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
    /// A metadata value has the wrong type or is out of range.
    #[error("metadata {key:?} should be {expected}, but is {found}")]
    WrongValue {
        /// The key.
        key: String,
        /// The type or range that is allowed.
        expected: String,
        /// The value in the file.
        found: String,
    },
    /// A tensor has an invalid shape.
    #[error("tensor {name:?} has the impossible shape {shape}: {problem}")]
    BadShape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        shape: String,
        /// The reason why it is invalid.
        problem: String,
    },
    /// The offset of a tensor's data is not a multiple of the alignment.
    #[error("the data of tensor {name:?} begins at {offset}, no multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// The offset in bytes from the start of the tensor data.
        offset: u64,
        /// The file's alignment in bytes.
        alignment: u64,
    },
    /// A tensor's format is not supported.
    #[error(
        "tensor {name:?} has the type {found}, which is not supported; supported are {supported}"
    )]
    UnsupportedTensorType {
        /// The tensor.
        name: String,
        /// The type's name, or its number.
        found: String,
        /// The supported types.
        supported: String,
    },
    /// A tensor is missing.
    #[error("tensor {name:?} is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor's shape does not match the model's metadata.
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
