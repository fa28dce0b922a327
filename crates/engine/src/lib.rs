//! # engine: what computes
//!
//! Loads a quantized Qwen model and answers prompts with it, several at once. It knows nothing of
//! queues or HTTP: a program that wants text from a model needs this crate alone.
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
//! Modules use those above them, never those below; a test holds them to it (`tests/architecture`).
//!
//! - `error`: [`LoadError`] and the errors of file formats and devices.
//! - `layout`: the ground of kernels and pages: page size, shape of keys and values, rows of a step.
//! - `kernels`: the only place with `unsafe`: products of packed weights, attention, norms, activations.
//! - [`gguf`]: reads and writes GGUF files; checks everything it reads.
//! - [`architecture`]: describes a model: sizes, rotary embedding, parts that devices compute.
//! - [`text`]: chat template, tokenizer, detokenizer, stop strings.
//! - [`safetensors`]: reads folders of safetensors and the JSON beside them; quantizes at load.
//! - [`checkpoint`]: a model's files in either format, behind one type.
//! - [`source`]: from a model's name to its files; [`ModelFile`] says where they are.
//! - [`weights`]: from tensors of a file to matrices that multiply.
//! - [`kv`]: keys and values of all sequences, in pages of fixed size.
//! - [`batch`]: the rows that one step computes, as flat arrays.
//! - [`lora`]: adapters beside the model, chosen per request.
//! - [`model`]: one stateless decoder for the Qwen family, on the CPU.
//! - `cuda`: the same decoder on NVIDIA GPUs, in a build with the feature `cuda`.
//! - [`api`]: requests, answers and their errors; no tensor appears there.
//! - [`sample`]: from logits to a token.
//! - `constrain`: limits tokens to those that keep a schema, an expression or a choice.
//! - [`sched`]: chooses the tokens of the next step. Pure.
//! - `runner`: [`Engine`], the handle, and the one thread that owns all of the above.
//! - [`synth`], [`mod@bench`]: models of true size with random weights, and their measurement.
//! - [`system`]: memory figures of the operating system.
//!
//! ## How a token comes to be
//!
//! ```text
//! Engine::submit ── template, tokenizer, checks (caller's thread)
//!       │ Job { sequence, stream }
//!       ▼
//! compute thread: ┌▶ Scheduler::schedule ── StepPlan: chunks of tokens; pages are taken or found
//!                 │        ▼
//!                 │  ForwardBatch ── tokens, positions, slots, pages, rows that want logits
//!                 │        ▼
//!                 │  Decoder::forward ── writes keys and values to the KvPool, returns logits
//!                 │        ▼
//!                 │  Constrained ── which tokens may come (masks: computed here, or on other threads)
//!                 │        ▼
//!                 │  Sampler ── penalties, then a token for every sequence whose chunk was its last
//!                 │        ▼
//!                 └─ Stream ── detokenizer, stop strings ──▶ Progress::Text to the Generation
//! ```
//!
//! [`Engine::embed`] goes the same way, as far as the row of the last token.
//!
//! Cancellation and deadlines are looked at before every step. The pages are counted at start; when
//! they run short the latest sequence is put back and computed again later, so no load ends in
//! out-of-memory. `docs/ENGINE.md` says more.

pub mod api;
pub mod architecture;
pub mod batch;
pub mod bench;
pub mod checkpoint;
mod constrain;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
pub mod gguf;
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
mod stored_tensor;
pub mod synth;
pub mod system;
pub mod text;
pub mod weights;

pub use api::*;
pub use checkpoint::Checkpoint;
pub use error::{AdapterError, Damage, LoadError};
pub use grammar::{Constraint, Function};
pub use lora::AdapterSource;
pub use model_file::ModelFile;
pub use quantization::Quantization;
pub use runner::{
    CancelHandle, DeviceChoice, DevicePlan, Devices, Engine, EngineLoad, EngineOptions,
    EngineTotals, Generation, MemoryPlan, PendingEmbedding, Survey,
};
