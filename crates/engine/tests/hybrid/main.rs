//! Hybrid models, whose layers mostly have a recurrent state: compared with transformers in float32, from GGUF files as
//! llama.cpp's converter writes them and from folders.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

#[path = "../common/mod.rs"]
mod common;
#[path = "../checkpoint/edit.rs"]
#[allow(dead_code)] // a test of keys uses the rest
mod edit;
mod engine_runs;
#[path = "../safetensors/folder.rs"]
#[allow(dead_code)] // a test of safetensors uses the rest
mod folder;
mod malformed;
mod truth;

/// The families of fixtures.
const FAMILIES: [&str; 3] = ["qwen35", "qwen35moe", "qwen3next"];
