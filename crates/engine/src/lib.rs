//! # engine: runs models
//!
//! Loads a quantized Qwen model and answers several prompts at once. It is independent of queues and HTTP: a program
//! that only needs text from a model can use this crate alone.
//!
//! ```no_run
//! use engine::{Engine, EngineOptions, Input, ModelFile, Progress, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::start(&ModelFile::Path("model.gguf".into()), &EngineOptions::default())?;
//! let input = Input::Text("One, two,".to_owned());
//! let mut generation = engine.submit(&Request::greedy(input, 16))?;
//! while let Some(Progress::Text { text, .. }) = generation.next_blocking() {
//!     print!("{text}");
//! }
//! # Ok(()) }
//! ```
//!
//! ## Layout
//!
//! A module uses only those above it in this list. `tests/architecture` checks that there are no import cycles.
//!
//! - `error`: [`LoadError`] and the errors of file formats and devices.
//! - `files`, `foreign`: model files, read by position, and what is found in their place.
//! - `weight_format`: the formats of weights, [`WeightFormat`].
//! - `layout`: types that kernels and higher layers share: page size, shape of keys and values, rows of a step.
//! - `kernels`: the only place with `unsafe`: products of packed weights, attention, norms, activations.
//! - [`gguf`]: reads, checks and writes GGUF files.
//! - [`architecture`]: describes a model: sizes, layers, rotary embedding, parts that devices compute.
//! - [`text`]: chat template, tokenizer, detokenizer, stop strings.
//! - [`safetensors`]: reads folders of safetensors and the JSON beside them; quantizes at load.
//! - [`checkpoint`]: a model's files in either format, behind one type.
//! - [`source`]: finds or downloads a model's files by its name; [`ModelFile`] is their location.
//! - [`content`]: hashes of the contents of a model's files.
//! - [`weights`]: loads a file's tensors as matrices for products.
//! - [`vision`]: images and videos: pixels, patches, the towers that encode them, positions.
//! - [`kv`]: keys and values of all sequences, in pages of fixed size.
//! - [`injected`]: rows that replace embeddings of a prompt, such as an image's, and the positions of its tokens.
//! - [`batch`]: the rows that one step computes, as flat arrays.
//! - [`lora`]: adapters beside the model, chosen per request.
//! - [`model`]: one stateless decoder for the Qwen family, on the CPU.
//! - `cuda`: the same decoder on NVIDIA GPUs, in a build with the feature `cuda`.
//! - [`api`]: requests, results and errors, without tensors.
//! - [`sample`]: samples a token from logits.
//! - `constrain`: limits tokens to those that satisfy a schema, a regular expression or a choice.
//! - [`sched`]: chooses the tokens of the next step. Pure.
//! - `speculate`: drafts tokens that may follow, for a step to verify several at once.
//! - `runner`: the handle [`Engine`], and the single thread that owns all of the above.
//! - [`synth`], [`mod@bench`]: models of true size with random weights, and their measurement.
//! - [`system`]: memory figures of the operating system.
//!
//! ## How a token is generated
//!
//! ```text
//! Engine::submit ── template, tokenizer, checks (caller's thread)
//!       │ Job { sequence, stream }
//!       ▼
//! compute thread: ┌▶ Scheduler::schedule ── StepPlan: chunks of tokens; takes new or cached pages
//!                 │        ▼
//!                 │  ForwardBatch ── tokens, positions, slots, pages, rows that need logits
//!                 │        ▼
//!                 │  Decoder::forward ── stores keys and values in the KvPool, returns logits
//!                 │        ▼
//!                 │  Constrained ── masks of allowed tokens, computed here or on other threads
//!                 │        ▼
//!                 │  Sampler ── penalties, then a token for each sequence whose prefill is complete
//!                 │        ▼
//!                 └─ Stream ── detokenizer, stop strings ──▶ Progress::Text to the Generation
//! ```
//!
//! [`Engine::embed`] takes the same path up to the row of the last token.
//!
//! Cancellation and deadlines are checked before every step. The number of pages is fixed at start. When they run
//! short, the latest sequence of the lowest priority is preempted and recomputed later, so load cannot exhaust
//! memory. See `docs/ENGINE.md`.

pub mod api;
pub mod architecture;
pub mod batch;
pub mod bench;
pub mod checkpoint;
mod constrain;
pub mod content;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod files;
mod foreign;
pub mod gguf;
pub mod injected;
mod kernels;
pub mod kv;
mod layout;
pub mod lora;
pub mod model;
mod model_file;
mod progress;
mod quantization;
mod runner;
pub mod safetensors;
pub mod sample;
pub mod sched;
pub mod source;
mod speculate;
mod stored_tensor;
pub mod synth;
pub mod system;
pub mod text;
pub mod vision;
mod weight_format;
pub mod weights;

pub use api::*;
pub use chat::{Constraint, Message, Role, Sampling, TokenLogprob, TokenLogprobs, Tool};
pub use checkpoint::Checkpoint;
pub use error::{AdapterError, Damage, LoadError};
pub use lora::AdapterSource;
pub use model_file::ModelFile;
pub use quantization::Quantization;
pub use runner::{
    CancelHandle, DeviceChoice, DevicePlan, Devices, Engine, EngineLoad, EngineOptions,
    EngineTotals, Generation, MemoryPlan, PendingEmbedding, Survey,
};
pub use speculate::{DraftTotals, Speculation};
