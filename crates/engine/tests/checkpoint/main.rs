//! What a model's files hold is used, or an error names it.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

mod changed;
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // other tests use the rest
mod edit;
#[path = "../safetensors/folder.rs"]
#[allow(dead_code)] // a test of safetensors uses the rest
mod folder;
mod folders;
mod formats;
mod keys;
mod parts;
mod sampling;
mod tensors;
mod vocabulary;
