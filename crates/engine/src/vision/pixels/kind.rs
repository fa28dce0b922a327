//! Recognizes files of images by their content.

use image::ImageFormat;

use super::ImageError;

/// Returns the kind of an image, and its name in messages.
pub(super) fn recognize(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let has = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
    if begins(b"\x89PNG\r\n\x1a\n") {
        return Ok((ImageFormat::Png, "PNG"));
    }
    if begins(b"\xff\xd8\xff") {
        return Ok((ImageFormat::Jpeg, "JPEG"));
    }
    if begins(b"RIFF") && has(8, b"WEBP") {
        return Ok((ImageFormat::WebP, "WebP"));
    }
    if begins(b"GIF87a") || begins(b"GIF89a") {
        return Ok((ImageFormat::Gif, "GIF"));
    }
    if begins(b"BM") && bytes.len() > 26 {
        return Ok((ImageFormat::Bmp, "BMP"));
    }
    Err(ImageError::Unsupported { found: describe_foreign(bytes) })
}

/// Names what is in the place of an image.
fn describe_foreign(bytes: &[u8]) -> &'static str {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let brand = bytes.get(4..8).filter(|at| *at == b"ftyp").and_then(|_| bytes.get(8..12));
    if let Some(brand) = brand {
        return match brand {
            b"avif" | b"avis" => "an AVIF file",
            b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => "a HEIC file",
            _ => "a video (MP4)",
        };
    }
    if begins(b"%PDF") {
        return "a PDF file";
    }
    if begins(b"II*\0") || begins(b"MM\0*") {
        return "a TIFF file";
    }
    if begins(b"\x1a\x45\xdf\xa3") {
        return "a video (Matroska or WebM)";
    }
    if begins(b"PK\x03\x04") {
        return "a ZIP file";
    }
    let start = &bytes[..bytes.len().min(1024)];
    let text = start.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let contains = |what: &[u8]| start.windows(what.len()).any(|at| at.eq_ignore_ascii_case(what));
    if text.starts_with(b"<") {
        return match (contains(b"<svg"), contains(b"<html")) {
            (true, _) => "an SVG file",
            (_, true) => "a web page",
            _ => "an XML file",
        };
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return "a JSON text";
    }
    match start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        true => "a text (is it still encoded in base64?)",
        false => "of an unknown kind",
    }
}

/// Returns whether a JPEG file has the marker of the image's end after its first scan. The decoder fills what is
/// missing with grey instead of reporting it.
pub(super) fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[0xff, marker]) = bytes.get(at..at + 2) else { return false };
        at += 1;
        match marker {
            // A byte that fills up: the marker comes later.
            0xff => continue,
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => at += 1,
            0xd9 => return false,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
                if marker == 0xda {
                    break;
                }
            }
        }
    }
    // In the data of a scan a zero follows each 0xff that is not a marker.
    bytes.get(at..).is_some_and(|scan| scan.windows(2).any(|pair| pair == [0xff, 0xd9]))
}
