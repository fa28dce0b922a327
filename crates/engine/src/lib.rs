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
//! - [`api`]: what callers say and hear. No tensor appears there.
//! - [`source`]: from a model's name to its bytes; [`ModelFile`] says where they are.
//! - `files`, `foreign`: model files, read by position; and what stands in their place.
//! - [`gguf`]: reads (and writes) the file format, believing nothing it has not checked.
//! - [`safetensors`]: reads the other one, with the JSON beside it, and quantizes at load.
//! - [`checkpoint`]: either of them, as the rest sees it.
//! - [`text`]: chat template, tokenizer, detokenizer, stop strings.
//! - [`weights`]: from tensors of a file to matrices that multiply.
//! - [`lora`]: adapters beside the model, chosen per request.
//! - [`model`]: one stateless decoder for the Qwen family.
//! - [`kv`]: keys and values of all sequences, in fixed pages.
//! - [`sched`]: which tokens of which sequences are computed next. Pure.
//! - [`batch`]: what one step computes, as flat arrays.
//! - `constrain`: answers that keep a schema, an expression, a choice.
//! - [`sample`]: from logits to a token.
//! - `runner`: [`Engine`], the handle, and the one thread that owns all of the above.
//! - [`synth`], [`mod@bench`]: models of true size and random weights, and what the engine makes of them.
//! - [`system`]: what the system says of memory.
//! - `cuda`: the same model on NVIDIA's GPUs, in a build with the feature `cuda`.
//! - `kernels`: the only place with `unsafe`; products of packed weights, attention, norms, activations.
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
pub mod batch;
pub mod bench;
pub mod checkpoint;
mod constrain;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod files;
mod foreign;
pub mod gguf;
mod kernels;
pub mod kv;
pub mod lora;
pub mod model;
mod model_file;
mod progress;
mod runner;
pub mod safetensors;
pub mod sample;
pub mod sched;
pub mod source;
pub mod synth;
pub mod system;
pub mod text;
pub mod weights;

pub use api::*;
pub use checkpoint::Checkpoint;
pub use error::{Damage, LoadError};
pub use grammar::{Constraint, Function};
pub use lora::{AdapterError, AdapterSource};
pub use model_file::{ModelFile, Quantization};
pub use runner::{
    CancelHandle, DeviceChoice, DevicePlan, Devices, Engine, EngineLoad, EngineOptions,
    EngineTotals, Generation, MemoryPlan, PendingEmbedding, Survey,
};
pub use sample::SamplingDefaults;
