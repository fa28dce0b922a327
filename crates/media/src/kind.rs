//! Recognizes files of images by their content.

use image::ImageFormat;

use super::ImageError;

/// A supported kind of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// PNG, animated or not.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, animated or not.
    WebP,
    /// GIF, animated or not.
    Gif,
    /// BMP.
    Bmp,
}

impl Kind {
    /// Recognizes a file by its first bytes.
    ///
    /// # Errors
    /// If it is not of a supported kind. The error names what it seems to be.
    pub fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let begins = |magic: &[u8]| bytes.starts_with(magic);
        let has = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
        if begins(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        }
        if begins(b"\xff\xd8\xff") {
            return Ok(Self::Jpeg);
        }
        if begins(b"RIFF") && has(8, b"WEBP") {
            return Ok(Self::WebP);
        }
        if begins(b"GIF87a") || begins(b"GIF89a") {
            return Ok(Self::Gif);
        }
        if begins(b"BM") && bytes.len() > 26 {
            return Ok(Self::Bmp);
        }
        Err(ImageError::Unsupported { found: describe_foreign(bytes) })
    }

    /// Returns the name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
        }
    }

    /// Returns the media type, such as `image/png`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
        }
    }

    /// Returns how many times the bytes of its pixels a decoder takes at most, with the pixels themselves.
    pub(crate) const fn copies(self) -> u64 {
        match self {
            Self::Png | Self::Gif | Self::Bmp => 2,
            Self::WebP => 3,
            // Coefficients of 16 bits, if it is progressive.
            Self::Jpeg => 4,
        }
    }

    /// Returns the decoder's name of the kind.
    pub(crate) const fn format(self) -> ImageFormat {
        match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::WebP => ImageFormat::WebP,
            Self::Gif => ImageFormat::Gif,
            Self::Bmp => ImageFormat::Bmp,
        }
    }
}

/// What a file of the MP4 family is called that is not an image.
pub(crate) const MP4: &str = "a video (MP4)";

/// Names what is in the place of an image.
pub(crate) fn describe_foreign(bytes: &[u8]) -> &'static str {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let brand = bytes.get(4..8).filter(|at| *at == b"ftyp").and_then(|_| bytes.get(8..12));
    if let Some(brand) = brand {
        return match brand {
            b"avif" | b"avis" => "an AVIF file",
            b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => "a HEIC file",
            _ => MP4,
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

/// Returns whether all chunks of a WebP file end within it. The decoder allocates what the head of a chunk claims.
pub(crate) fn webp_chunks_fit(bytes: &[u8]) -> bool {
    let mut at = 12;
    while let Some(&[a, b, c, d]) = bytes.get(at + 4..at + 8) {
        let size = u32::from_le_bytes([a, b, c, d]) as usize;
        at += 8 + size;
        if at > bytes.len() {
            return false;
        }
        at += size % 2;
    }
    true
}

/// Returns whether a JPEG file has the marker of the image's end after its first scan. The decoder fills what is
/// missing with grey instead of reporting it.
pub(crate) fn jpeg_is_complete(bytes: &[u8]) -> bool {
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
