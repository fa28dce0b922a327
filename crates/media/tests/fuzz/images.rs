//! Damaged images: each is decoded or refused, within the memory that its header announces.

use std::time::Duration;

use media::{ImageLimits, check, decode, read_header};

use crate::samples;
use crate::seeds::{processor_time, seeds};
use crate::within;

/// Seeds of files that once did harm: a decoder panicked.
const FOUND: [u64; 1] = [2_495_523];

/// Returns the bytes of memory that reading a header may take.
fn for_header(file: &[u8]) -> u64 {
    7 * file.len() as u64 + (2 << 20)
}

#[test]
fn damaged_images_are_decoded_or_refused() {
    let limits = ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 20 };
    let originals = samples::images();
    let (mut decoded, mut refused, mut most, mut longest) = (0, 0, 0.0_f64, Duration::ZERO);
    for seed in FOUND.into_iter().chain(seeds()) {
        let (label, bytes) = samples::damaged(&originals, seed, true);
        let began = processor_time();
        let (header, opening) = within(&label, || read_header(&bytes, &limits));
        let (checked, checking) = within(&label, || check(&bytes, &limits));
        let (image, decoding) = within(&label, || decode(&bytes, &limits));
        let took = processor_time() - began;
        assert!(took < Duration::from_secs(5), "{label} takes {took:?}");
        longest = longest.max(took);
        let memory = header.as_ref().map_or(for_header(&bytes), |header| header.memory);
        assert!(opening <= for_header(&bytes), "{label}: its header takes {opening} bytes");
        assert!(checking <= memory, "{label}: checking takes {checking} bytes of {memory}");
        most = most.max(checking as f64 / memory as f64);
        match image {
            Ok(image) => {
                let pixels = u64::from(image.width) * u64::from(image.height);
                assert!(pixels <= limits.max_pixels, "{label}");
                assert_eq!(image.rgb.len() as u64, 3 * pixels, "{label}");
                assert_eq!(checked, header, "{label}");
                assert!(decoding <= 2 * memory, "{label}: decoding takes {decoding} bytes");
                decoded += 1;
            }
            Err(error) => {
                assert_eq!(checked, Err(error.clone()), "{label}");
                let text = error.to_string();
                assert!(text.len() < 400 && !text.contains('\n'), "{label}: {text}");
                assert!(decoding <= memory, "{label}: decoding takes {decoding} bytes");
                refused += 1;
            }
        }
    }
    println!(
        "{decoded} decoded, {refused} refused; at most {:.0} % of the announced memory and {longest:?}",
        100.0 * most
    );
    assert!(decoded > 0 && refused > 0);
}

/// Checks a file within the memory that its header announces.
fn weigh(name: &str, bytes: &[u8]) {
    let limits = ImageLimits::default();
    let (header, opening) = within(name, || read_header(bytes, &limits));
    let (checked, checking) = within(name, || check(bytes, &limits));
    let memory = header.as_ref().map_or(for_header(bytes), |header| header.memory);
    let said = checked.map_or_else(|error| error.to_string(), |_| "usable".to_owned());
    println!("{name}: {opening} bytes, then {checking} of {memory}: {said}");
    assert!(opening <= for_header(bytes), "{name}: its header takes {opening} bytes");
    assert!(checking <= memory, "{name}: checking takes {checking} bytes of {memory}");
    assert!(memory <= 1 << 30, "{name}: {memory}");
}

#[test]
fn large_images_take_the_memory_that_they_announce() {
    let (width, height) = (1_800, 1_200);
    let image = image::RgbaImage::from_fn(width, height, |x, y| {
        image::Rgba([x as u8, (x * y) as u8, (y / 3) as u8, 255])
    });
    let image = image::DynamicImage::from(image);
    let encoded = |image: &image::DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    use image::ImageFormat::{Bmp, Jpeg, Png, WebP};
    let rgb = image.to_rgb8().into();
    let (deep, grey) = (image.to_rgba16().into(), image.to_luma8().into());
    for (name, image, format) in [
        ("PNG", &image, Png),
        ("PNG of 64 bits", &deep, Png),
        ("WebP", &image, WebP),
        ("WebP without alpha", &rgb, WebP),
        ("JPEG", &rgb, Jpeg),
        ("grey JPEG", &grey, Jpeg),
        ("BMP", &rgb, Bmp),
    ] {
        weigh(name, &encoded(image, format));
    }
}

#[test]
fn files_that_lie_about_their_size_take_what_they_announce() {
    for (name, bytes) in samples::images() {
        // The decoders of these three take the most.
        let is_hungry = ["photo-progressive.jpg", "turned-5.webp", "GIF"].contains(&&*name);
        let largest = if is_hungry { (8_000, 8_000) } else { (2_000, 1_500) };
        for (width, height) in [largest, (300, 2)] {
            weigh(
                &format!("{name} as {width} × {height}"),
                &samples::resized(&bytes, width, height),
            );
        }
    }
    // A frame that is larger than the image.
    let mut gif = samples::animations().swap_remove(0).1;
    let frame = gif.windows(10).position(|at| at[0] == b',' && at[1..5] == [0; 4]).unwrap();
    gif[frame + 5..frame + 9].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    weigh("GIF with a large frame", &gif);
    // 300 MB of zeros as the color profile of one pixel.
    weigh("PNG with a large profile", &samples::with_profile(300_000_000));
}
