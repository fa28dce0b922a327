//! Reads recorded answers of models, whole and broken, and damages them at random.
//!
//! `QWEN_QUEUE_FUZZ_SECONDS` is the time of each test that damages answers (2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // in helpers too

mod check;
mod fuzz;
mod hostile;
mod pictures;
mod recorded;
mod samples;
#[path = "../../../media/tests/fuzz/seeds.rs"]
mod seeds;
