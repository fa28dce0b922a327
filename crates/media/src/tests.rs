use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::*;

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image =
        RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, (x ^ y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn all_kinds_decode_and_any_truncation_is_reported() {
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp]
    {
        let bytes = encoded(format);
        let image = decode(&bytes, &ImageLimits::default()).unwrap();
        assert_eq!((image.width, image.height, image.rgb.len()), (40, 30, 3600));
        let header = read_header(&bytes, &ImageLimits::default()).unwrap();
        assert_eq!((header.width, header.height, header.kind.format()), (40, 30, format));
        assert!(header.memory >= 2 * 3600, "{header:?}");
        assert_eq!(check(&bytes, &ImageLimits::default()), Ok(header));
        for quarter in 1..4 {
            let part = &bytes[..bytes.len() * quarter / 4];
            let error = decode(part, &ImageLimits::default()).unwrap_err();
            assert_eq!(check(part, &ImageLimits::default()), Err(error.clone()));
            assert!(matches!(error, ImageError::Damaged { .. }), "{format:?} {quarter}: {error}");
        }
        // The end alone is missing.
        let error = decode(&bytes[..bytes.len() - 2], &ImageLimits::default());
        assert!(
            error.is_err() || matches!(format, ImageFormat::Gif | ImageFormat::Png),
            "{format:?}"
        );
    }
}

#[test]
fn other_files_are_named() {
    for (bytes, expected) in [
        (b"%PDF-1.7".as_slice(), "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><SVG/>", "SVG"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"{\"a\": 1}", "JSON"),
        (b"iVBORw0KGgoAAAANSUhEUg", "base64"),
        (b"\0\0\0\x20ftypisom\0\0", "MP4"),
        (b"\0\0\0\x20ftypheic\0\0", "HEIC"),
        (b"\x1a\x45\xdf\xa3\0", "Matroska"),
        (b"II*\0\x08", "TIFF"),
        (b"\x00\x01\x02", "unknown"),
        (b"BM", "text"),
    ] {
        let error = decode(bytes, &ImageLimits::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("supported are PNG"), "{error}");
    }
    assert_eq!(decode(b"", &ImageLimits::default()), Err(ImageError::Empty));
}

#[test]
fn bombs_are_refused_by_their_header() {
    // A PNG header that claims 60,000 × 60,000 pixels, with a valid checksum.
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    for side in [60_000u32, 60_000] {
        header.extend(side.to_be_bytes());
    }
    header.extend([8, 2, 0, 0, 0]);
    header.extend([0; 4]);
    let checksum = crc(&header[12..29]);
    header[29..33].copy_from_slice(&checksum.to_be_bytes());
    header.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    let error = decode(&header, &ImageLimits::default()).unwrap_err();
    assert_eq!(
        error,
        ImageError::TooManyPixels { width: 60_000, height: 60_000, most: 64_000_000 }
    );
    let few = ImageLimits { max_pixels: 1000, ..Default::default() };
    let error = decode(&encoded(ImageFormat::Gif), &few).unwrap_err();
    assert_eq!(error, ImageError::TooManyPixels { width: 40, height: 30, most: 1000 });
    let short = ImageLimits { max_bytes: 10, ..Default::default() };
    assert!(matches!(decode(&header, &short), Err(ImageError::TooManyBytes { most: 10, .. })));
}

/// PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
