//! Errors of folders of safetensors files.

/// The problem with a folder of safetensors files. Every message says where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsError {
    /// The folder has no weights.
    #[error(
        "there is neither model.safetensors nor model.safetensors.index.json in it; a folder of \
         safetensors has one of the two beside config.json and tokenizer.json"
    )]
    NoWeights,
    /// A file is missing.
    #[error("{name} is missing, {needed}")]
    MissingFile {
        /// The file.
        name: String,
        /// The reason why it is needed.
        needed: String,
    },
    /// A file cannot be read.
    #[error("{name} cannot be read: {problem}")]
    Unreadable {
        /// The file.
        name: String,
        /// The system's error.
        problem: String,
    },
    /// A file is something else that often stands in its place.
    #[error("{name}: {problem}")]
    Foreign {
        /// The file.
        name: String,
        /// What it is and what to do.
        problem: String,
    },
    /// A file is larger than the limit for its kind.
    #[error("{name} has {len} bytes; allowed are {most}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size in bytes.
        len: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// A file is not valid JSON, or not of the expected form.
    #[error("{name} is not what it should be: {problem}")]
    BadJson {
        /// The file.
        name: String,
        /// The problem and its position.
        problem: String,
    },
    /// A safetensors file has an invalid header.
    #[error("{name} is truncated or no safetensors file: {problem}")]
    BadHeader {
        /// The file.
        name: String,
        /// The reason why it is invalid.
        problem: String,
    },
    /// The index names a file outside the folder, or one that is not a safetensors file.
    #[error("the index names the file {name:?}; allowed are the names of files in the same folder")]
    InvalidShardPath {
        /// The name.
        name: String,
    },
    /// Two files have the same tensor.
    #[error("tensor {tensor:?} is both in {first} and in {second}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// The first file that has it.
        first: String,
        /// The second file that has it.
        second: String,
    },
    /// The index names a file for a tensor that is not in the file.
    #[error("tensor {tensor:?} is not in {shard}, where the index has it")]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The file.
        shard: String,
    },
    /// A tensor is missing.
    #[error("tensor {tensor:?} is missing{hint}")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The reason why it is needed, or an empty text.
        hint: &'static str,
    },
    /// A tensor's shape does not match config.json.
    #[error("tensor {tensor:?} has the shape {found:?}, config.json asks for {expected:?}")]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// Its shape, rows first.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor's type is not supported.
    #[error(
        "tensor {tensor:?} has the type {found}, which is not supported; supported are F32, F16 and BF16"
    )]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A weight is infinite or NaN.
    #[error("tensor {tensor:?} holds a weight that is infinite or no number")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
    /// A weight is in a group that does not exist.
    #[error("tensor {tensor:?} has the group {found}; the scales have {groups} groups")]
    BadGroup {
        /// The tensor.
        tensor: String,
        /// The number of the group.
        found: u64,
        /// The number of groups.
        groups: usize,
    },
    /// A value in a JSON file has the wrong type or is out of range.
    #[error("{name}: {key:?} should be {expected}, but is {found}")]
    WrongValue {
        /// The file.
        name: &'static str,
        /// The key, or the path to it.
        key: String,
        /// The type or range that is allowed.
        expected: String,
        /// The value in the file.
        found: String,
    },
    /// A key of a JSON file is missing.
    #[error("{name}: {key:?} is missing; it should be {expected}")]
    MissingKey {
        /// The file.
        name: &'static str,
        /// The key, or the path to it.
        key: String,
        /// The type or range that is allowed.
        expected: &'static str,
    },
}

impl SafetensorsError {
    /// Whether no other copy of the files would help: they are sound and this engine cannot use them, or one
    /// is not what it was taken for.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::UnknownType { .. })
    }
}
