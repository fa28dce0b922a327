//! Measures vision with towers of true size and random weights.
//!
//! ```text
//! cargo bench -p qwen-queue-engine --bench vision                        Qwen3-VL-2B and Qwen3.5-0.8B
//! cargo bench -p qwen-queue-engine --bench vision -- qwen2.5-vl 1024     one tower, images of 1,024 tokens
//! … -- files FOLDER                 writes text models and projectors for the following
//! … -- image TEXT MMPROJ 256 1024   encodes images of 256 and 1,024 tokens and processes their rows
//! … -- tasks TEXT MMPROJ            sixteen tasks with images, a repeated image, and an answer beside an encoding
//! ```
//!
//! Times are by the clock and in processor seconds of all threads. On a busy machine trust the latter.
#![allow(clippy::print_stdout, missing_docs)]

mod clock;
mod files;
mod image;
mod tasks;
mod towers;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["files", folder] => files::write(Path::new(folder)),
        ["image", text, projector, ref tokens @ ..] => {
            let tokens: Result<Vec<usize>, _> =
                tokens.iter().map(|tokens| tokens.parse()).collect();
            image::measure(Path::new(text), Path::new(projector), &tokens?)
        }
        ["tasks", text, projector] => tasks::measure(Path::new(text), Path::new(projector)),
        _ => towers::measure(&arguments),
    }
}
