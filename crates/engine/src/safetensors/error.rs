//! What can be wrong with a folder of safetensors.

/// What can be wrong with a folder of safetensors. Every message says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsError {
    /// There are no weights in the folder.
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
        /// Who needs it.
        needed: String,
    },
    /// A file cannot be read.
    #[error("{name} cannot be read: {problem}")]
    Unreadable {
        /// The file.
        name: String,
        /// What the system said.
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
    /// A file is larger than any of its kind.
    #[error("{name} has {len} bytes; allowed are {most}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size in bytes.
        len: u64,
        /// The largest size that is read.
        most: u64,
    },
    /// A file is not the JSON it should be.
    #[error("{name} is not what it should be: {problem}")]
    BadJson {
        /// The file.
        name: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// A safetensors file has a header that cannot be.
    #[error("{name} is truncated or no safetensors file: {problem}")]
    BadHeader {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The index puts a file where none may be.
    #[error("the index names the file {name:?}; allowed are the names of files in the same folder")]
    StrangeShard {
        /// The name.
        name: String,
    },
    /// Two files hold one tensor.
    #[error("tensor {tensor:?} is both in {first} and in {second}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// A file that has it.
        first: String,
        /// Another.
        second: String,
    },
    /// The index says that a file has a tensor which it has not.
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
        /// Why it is wanted.
        hint: &'static str,
    },
    /// A tensor does not have the shape that config.json asks for.
    #[error("tensor {tensor:?} has the shape {found:?}, config.json asks for {expected:?}")]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// Its shape, rows first.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor is in a format that is not read.
    #[error(
        "tensor {tensor:?} has the type {found}, which is not supported; supported are F32, F16 and BF16"
    )]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A weight is infinite or no number.
    #[error("tensor {tensor:?} holds a weight that is infinite or no number")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
    /// A value of a JSON file is not what it must be.
    #[error("{name}: {key:?} should be {expected}, but is {found}")]
    WrongValue {
        /// The file.
        name: &'static str,
        /// The key, or the path to it.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A key of a JSON file is missing.
    #[error("{name}: {key:?} is missing; it should be {expected}")]
    MissingKey {
        /// The file.
        name: &'static str,
        /// The key, or the path to it.
        key: String,
        /// What it should be.
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
