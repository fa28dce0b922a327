//! A real worker with real engines on the embedded queue.

#![allow(clippy::unwrap_used)] // clippy.toml's exception covers only `#[test]` functions

mod choices;
mod completions;
mod counts;
mod embeddings;
mod rig;
mod usage;
