//! Randomly damaged images and projectors: each is decoded or refused, in limited time and without a panic.
//!
//! `QWEN_QUEUE_MUTATIONS` is the number of mutations of each file (30).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use engine::vision::{ImageLimits, Precision, Tower, decode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::folder;
use super::projector::Projector;

fn rounds() -> u64 {
    let set = std::env::var("QWEN_QUEUE_MUTATIONS").ok();
    set.and_then(|rounds| rounds.parse().ok()).unwrap_or(30)
}

/// Changes, removes, doubles or inserts some bytes, more often near the beginning.
fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..5) {
        let reach = if random.random_bool(0.5) { bytes.len() } else { bytes.len().min(80) };
        if reach == 0 {
            return;
        }
        let at = random.random_range(0..reach);
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.random_range(0..6)],
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.random_range(1..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + random.random_range(1..40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let number: u32 = random.random();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&number.to_be_bytes()[..end - at]);
            }
        }
    }
}

#[test]
fn damaged_images_are_decoded_or_refused() {
    let limits = ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 20 };
    let (mut decoded, mut refused) = (0, 0);
    for entry in std::fs::read_dir(folder().join("images")).unwrap() {
        let path = entry.unwrap().path();
        let original = std::fs::read(&path).unwrap();
        for seed in 0..rounds() {
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut StdRng::seed_from_u64(seed));
            let begin = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| decode(&bytes, &limits)));
            let label = format!("{} with seed {seed}", path.display());
            match outcome.unwrap_or_else(|_| panic!("{label} panics")) {
                Ok(image) => {
                    let pixels = u64::from(image.width) * u64::from(image.height);
                    assert!(pixels <= limits.max_pixels, "{label}");
                    assert_eq!(image.rgb.len() as u64, 3 * pixels, "{label}");
                    decoded += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.len() < 400 && !text.contains('\n'), "{label}: {text}");
                    refused += 1;
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "{label} takes long");
        }
    }
    println!("{decoded} decoded, {refused} refused");
    assert!(decoded > 0 && refused > 0);
}

#[test]
fn damaged_projectors_are_loaded_or_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mmproj.gguf");
    Projector::of("qwen3vl").write(&path);
    let original = std::fs::read(&path).unwrap();
    // The header, without most of the numbers, is what mutations should hit.
    let mut refused = 0;
    for seed in 0..4 * rounds() {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut header, rest) = (original[..7000].to_vec(), &original[7000..]);
        mutate(&mut header, &mut random);
        header.extend_from_slice(rest);
        std::fs::write(&path, &header).unwrap();
        let outcome = catch_unwind(|| Tower::load(&path, Precision::Full).map(drop));
        match outcome.unwrap_or_else(|_| panic!("seed {seed} panics")) {
            Ok(()) => {}
            Err(error) => {
                assert!(error.to_string().contains("mmproj.gguf"), "{error}");
                refused += 1;
            }
        }
    }
    println!("{refused} of {} refused", 4 * rounds());
    assert!(refused > 0);
}
