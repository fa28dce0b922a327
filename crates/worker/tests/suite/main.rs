//! A real worker with real engines on the embedded queue.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // clippy.toml's exception covers only `#[test]` functions

mod choices;
mod completions;
mod counts;
mod embeddings;
mod images;
mod library;
mod processes;
mod results;
mod rig;
mod skills;
mod tower;
mod usage;
mod videos;
