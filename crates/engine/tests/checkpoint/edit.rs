//! Copies of a GGUF file that a test changes.

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use engine::gguf::{GgufFile, TensorSpec, Value, WeightFormat, Writer};
use engine::{Engine, EngineOptions, Input, LoadError, ModelFile, Progress, Request, Survey};

use crate::common::fixtures;

/// All keys of the fixtures.
const KEYS: [&str; 15] = [
    "general.architecture",
    "general.name",
    "general.file_type",
    "general.quantization_version",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.chat_template",
];

/// Those of the architecture.
const ARCHITECTURE_KEYS: [&str; 28] = [
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.dimension_sections",
    "nextn_predict_layers",
    "full_attention_interval",
    "ssm.conv_kernel",
    "ssm.state_size",
    "ssm.group_count",
    "ssm.time_step_rank",
    "ssm.inner_size",
];

/// The contents of a GGUF file.
#[derive(Clone)]
pub(crate) struct Gguf {
    architecture: String,
    metadata: Vec<(String, Value)>,
    tensors: Vec<(TensorSpec, Vec<u8>)>,
}

impl Gguf {
    /// A fixture's, e.g. `qwen3/qwen3-f32`.
    pub(crate) fn fixture(name: &str) -> Self {
        Self::read(&fixtures().join(format!("{name}.gguf")))
    }

    pub(crate) fn read(path: &Path) -> Self {
        let file = GgufFile::open(path).unwrap();
        let architecture = file.require::<&str>("general.architecture").unwrap().to_owned();
        let own = ARCHITECTURE_KEYS.iter().map(|key| format!("{architecture}.{key}"));
        let keys = KEYS.iter().map(|key| (*key).to_owned()).chain(own);
        let metadata = keys.filter_map(|key| Some((key.clone(), file.metadata(&key)?.clone())));
        let mut tensors: Vec<(TensorSpec, Vec<u8>)> = file
            .tensors()
            .map(|(name, info)| {
                let (name, shape) = (name.to_owned(), info.shape.clone());
                (TensorSpec { name, shape, dtype: info.dtype }, file.data(info).unwrap().to_vec())
            })
            .collect();
        tensors.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Self { metadata: metadata.collect(), architecture, tensors }
    }

    /// The same with a key set, or taken out. `.key` is one of the architecture's.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Option<Value>>) -> Self {
        let key = match key.strip_prefix('.') {
            Some(own) => format!("{}.{own}", self.architecture),
            None => key.to_owned(),
        };
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.extend(value.into().map(|value| (key, value)));
        self
    }

    /// The same model of another architecture.
    pub(crate) fn of(mut self, architecture: &str) -> Self {
        let prefix = format!("{}.", self.architecture);
        for (key, _) in &mut self.metadata {
            if let Some(own) = key.strip_prefix(&prefix) {
                *key = format!("{architecture}.{own}");
            }
        }
        self.architecture = architecture.to_owned();
        self.with("general.architecture", Value::String(architecture.to_owned()))
    }

    /// The same with one more tensor of ones, in f32.
    pub(crate) fn with_tensor(mut self, name: &str, shape: &[usize]) -> Self {
        let spec = TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: GgmlDType::F32.into(),
        };
        let numbers: usize = shape.iter().product();
        self.tensors.push((spec, 1f32.to_le_bytes().repeat(numbers)));
        self
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let specs: Vec<TensorSpec> = self.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut writer = Writer::begin(Vec::new(), &self.metadata, &specs).unwrap();
        for (_, data) in &self.tensors {
            writer.put(data).unwrap();
            writer.align().unwrap();
        }
        writer.finish().unwrap()
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).unwrap();
    }

    /// What becomes of an engine with it.
    pub(crate) fn start(&self) -> Result<Engine, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.gguf");
        self.write(&path);
        Engine::start(&ModelFile::Path(path), &EngineOptions::default())
    }

    /// Why it is refused: by an engine, and by what only looks at the headers.
    pub(crate) fn refusal(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.gguf");
        self.write(&path);
        refusal(ModelFile::Path(path))
    }
}

/// Why a model is refused: by an engine, and by what only looks at what stands before the weights.
pub(crate) fn refusal(file: ModelFile) -> String {
    let options = EngineOptions::default();
    let error = Engine::start(&file, &options).expect_err("it was loaded").to_string();
    println!("{error}");
    let early = Survey::of(&file, &options).expect_err("its headers pass").to_string();
    assert_eq!(early, error, "before and after the weights");
    let label = match &file {
        ModelFile::Path(path) => path,
        ModelFile::Safetensors { folder, .. } => folder,
        ModelFile::Embedded { .. } => panic!("not of tests"),
    };
    assert!(error.contains(label.to_str().unwrap()), "which file? {error}");
    error
}

/// The likeliest answer of 12 tokens.
pub(crate) fn answer(engine: &Engine, input: Input) -> String {
    let mut generation = engine.submit(&Request::greedy(input, 12)).unwrap();
    let mut answer = String::new();
    loop {
        match generation.next_blocking() {
            Some(Progress::Text { text, .. }) => answer.push_str(&text),
            Some(Progress::Finished(_)) => return answer,
            other => panic!("{other:?}"),
        }
    }
}

impl Gguf {
    /// One of `parts` parts, counted from 0: the first has the metadata, each some of the tensors.
    pub(crate) fn part(&self, part: usize, parts: usize) -> Self {
        let all = self.tensors.len();
        let own = part * all / parts..(part + 1) * all / parts;
        let mut file = Self {
            architecture: self.architecture.clone(),
            metadata: if part == 0 { self.metadata.clone() } else { Vec::new() },
            tensors: self.tensors[own].to_vec(),
        };
        for (key, value) in [("no", part), ("count", parts), ("tensors.count", all)] {
            file.metadata.push((format!("split.{key}"), Value::Int(value as i128)));
        }
        file
    }

    /// The names of all tensors.
    pub(crate) fn tensor_names(&self) -> Vec<String> {
        self.tensors.iter().map(|(spec, _)| spec.name.clone()).collect()
    }

    /// The same without a tensor.
    pub(crate) fn without_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|(spec, _)| spec.name != name);
        self
    }

    /// The same with one more row of zeros in a tensor.
    pub(crate) fn with_longer_tensor(mut self, name: &str) -> Self {
        for (spec, data) in self.tensors.iter_mut().filter(|(spec, _)| spec.name == name) {
            let row = data.len() / spec.shape[0];
            data.extend(vec![0; row]);
            spec.shape[0] += 1;
        }
        self
    }

    /// The same with the weights of all matrices of layers in other forms: `form` returns the format and the bytes for
    /// a matrix's place among them and the number of its weights.
    #[allow(dead_code)]
    pub(crate) fn with_layers(
        mut self,
        form: impl Fn(usize, usize) -> (WeightFormat, Vec<u8>),
    ) -> Self {
        let of_layers = self.tensors.iter_mut().filter(|(spec, _)| {
            let is_router = spec.name.contains("ffn_gate_inp");
            spec.name.starts_with("blk.") && spec.shape.len() > 1 && !is_router
        });
        for (place, (spec, data)) in of_layers.enumerate() {
            (spec.dtype, *data) = form(place, spec.shape.iter().product());
        }
        self
    }

    /// Loads it.
    pub(crate) fn loads(self) {
        self.start().unwrap();
    }

    /// The same with one tensor less.
    pub(crate) fn without_last_tensor(mut self) -> Self {
        self.tensors.pop();
        self
    }
}
