//! Good files, which the tests damage.

use std::path::Path;
use std::process::{Command, Stdio};

use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, ImageEncoder, Rgba, RgbaImage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::mutate::mutate;

/// Returns the images of the engine's tests, by their names.
pub(crate) fn images() -> Vec<(String, Vec<u8>)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/vision/images");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".expected.png") {
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    files.extend(animations());
    files
}

/// Returns animations of a few frames.
pub(crate) fn animations() -> Vec<(String, Vec<u8>)> {
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new(&mut gif);
    for shade in [0, 100, 200] {
        let pixels = RgbaImage::from_fn(20, 14, |x, y| Rgba([shade, x as u8 * 9, y as u8, 255]));
        let delay = Delay::from_numer_denom_ms(250, 1);
        encoder.encode_frame(Frame::from_parts(pixels, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    let apng = make(&["-f", "apng", "-plays", "0"]);
    let images =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/vision/images");
    let webp = std::fs::read(images.join("animated.webp")).unwrap();
    vec![("GIF".into(), gif), ("APNG".into(), apng), ("WebP".into(), webp)]
}

/// Returns short videos.
pub(crate) fn videos() -> Vec<(String, Vec<u8>)> {
    [
        ("MP4", &["-c:v", "mpeg4", "-f", "mp4"][..]),
        ("Matroska", &["-c:v", "ffv1", "-f", "matroska"]),
        ("AVI", &["-c:v", "mjpeg", "-f", "avi"]),
    ]
    .map(|(name, options)| (name.to_owned(), make(options)))
    .into()
}

/// Returns one of the files, damaged at random, and its label. The checksums of most are repaired if `repairs`.
pub(crate) fn damaged(
    originals: &[(String, Vec<u8>)],
    seed: u64,
    repairs: bool,
) -> (String, Vec<u8>) {
    let mut random = StdRng::seed_from_u64(seed);
    let (name, original) = &originals[random.random_range(0..originals.len())];
    let mut bytes = original.clone();
    mutate(&mut bytes, &mut random);
    if repairs && random.random_bool(0.7) {
        repair(&mut bytes);
    }
    (format!("{name} with seed {seed}"), bytes)
}

/// Makes a video of 20 × 14 pixels and 4 frames by ffmpeg.
fn make(options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video");
    let source = "testsrc=s=20x14:r=4:d=1";
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", source]).args(options).arg(&path);
    assert!(command.stdin(Stdio::null()).status().unwrap().success(), "{options:?}");
    std::fs::read(path).unwrap()
}

/// Corrects the checksums of a PNG file's chunks, so that decoders read what is in them.
fn repair(bytes: &mut [u8]) {
    const SIGNATURE: usize = 8;
    if !bytes.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = SIGNATURE;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let end = at + 8 + length;
        let Some(chunk) = bytes.get(at + 4..end) else { return };
        let checksum = crc(chunk).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&checksum);
        at = end + 4;
    }
}

/// Returns a file whose header has another size.
pub(crate) fn resized(bytes: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let big = [height.to_be_bytes(), width.to_be_bytes()].concat();
    let little = [width.to_le_bytes(), height.to_le_bytes()].concat();
    match &bytes[..4] {
        b"\x89PNG" => {
            bytes[16..20].copy_from_slice(&u32::from(width).to_be_bytes());
            bytes[20..24].copy_from_slice(&u32::from(height).to_be_bytes());
            repair(&mut bytes);
        }
        b"GIF8" => bytes[6..10].copy_from_slice(&little),
        b"RIFF" => {
            let place = bytes.windows(3).position(|at| at == b"\x9d\x01\x2a");
            if let Some(place) = place {
                bytes[place + 3..place + 7].copy_from_slice(&little);
            }
            if &bytes[12..16] == b"VP8X" {
                bytes[24..26].copy_from_slice(&(width - 1).to_le_bytes());
                bytes[27..29].copy_from_slice(&(height - 1).to_le_bytes());
            }
        }
        [b'B', b'M', ..] => {
            bytes[18..22].copy_from_slice(&u32::from(width).to_le_bytes());
            bytes[22..26].copy_from_slice(&u32::from(height).to_le_bytes());
        }
        // The frame of a JPEG file, baseline or progressive.
        _ => {
            let is_frame = |at: &[u8]| at[0] == 0xff && matches!(at[1], 0xc0 | 0xc2) && at[2] == 0;
            let place = bytes.windows(3).position(is_frame).unwrap();
            bytes[place + 5..place + 9].copy_from_slice(&big);
        }
    }
    bytes
}

/// Returns a PNG file of one pixel whose color profile has this many zeros.
pub(crate) fn with_profile(zeros: usize) -> Vec<u8> {
    let pixel = image::RgbImage::new(1, 1);
    let mut profile = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut profile);
    encoder.set_icc_profile(vec![0; zeros]).unwrap();
    pixel.write_with_encoder(encoder).unwrap();
    profile
}

/// PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
