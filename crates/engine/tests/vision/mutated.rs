//! Randomly damaged projectors: each is loaded or refused, without a panic and without more memory than the file has.
//!
//! `QWEN_QUEUE_FUZZ_SECONDS` is the time of the test (2). Images are damaged in the tests of the crate `media`.

use std::panic::catch_unwind;
use std::time::Duration;

use engine::vision::{Precision, Tower};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::projector::Projector;

#[path = "../../../media/tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../media/tests/fuzz/seeds.rs"]
mod seeds;

/// The part of the file that says what is in it.
const HEADER: usize = 7000;

/// Seeds of files that once did harm: one announced four billion blocks, which were listed.
const FOUND: [u64; 1] = [41_872];

#[test]
fn damaged_projectors_are_loaded_or_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mmproj.gguf");
    let originals = ["qwen2vl", "qwen2.5vl", "qwen3vl"].map(|name| {
        Projector::of(name).write(&path);
        std::fs::read(&path).unwrap()
    });
    let (mut loaded, mut refused, mut most) = (0, 0, 0);
    for seed in FOUND.into_iter().chain(seeds::seeds()) {
        let mut random = StdRng::seed_from_u64(seed);
        let original = &originals[seed as usize % originals.len()];
        // The header, without most of the numbers, is what mutations should hit.
        let (mut bytes, rest) = (original[..HEADER].to_vec(), &original[HEADER..]);
        mutate::mutate(&mut bytes, &mut random);
        bytes.extend_from_slice(rest);
        std::fs::write(&path, &bytes).unwrap();
        let (began, mut outcome) = (seeds::processor_time(), None);
        let measured = allocation_counter::measure(|| {
            outcome = Some(catch_unwind(|| Tower::load(&path, Precision::Full).map(drop)));
        });
        let took = seeds::processor_time() - began;
        assert!(took < Duration::from_secs(5), "seed {seed} takes {took:?}");
        let bound = 16 * bytes.len() as u64 + (1 << 20);
        assert!(measured.bytes_max <= bound, "seed {seed} takes {} bytes", measured.bytes_max);
        most = most.max(measured.bytes_max);
        match outcome.unwrap().unwrap_or_else(|_| panic!("seed {seed} panics")) {
            Ok(()) => loaded += 1,
            Err(error) => {
                assert!(error.to_string().contains("mmproj.gguf"), "{error}");
                refused += 1;
            }
        }
    }
    println!("{loaded} loaded, {refused} refused; at most {most} bytes of memory");
    assert!(refused > 0);
}
