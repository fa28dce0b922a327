//! Tests files that are no usable images: each is refused within a second, by its place, and none is stored.

use std::time::{Duration, Instant};

use image::codecs::gif::GifEncoder;
use image::{Delay, DynamicImage, Frame, ImageBuffer, ImageFormat, Rgba, RgbaImage};
use serde_json::{Value, json};

use crate::images::{
    chat_of, data_url, encoded, image_url, picture, png, refused, stored, task_of, tenant,
};
use crate::openai::CHAT;
use crate::rig::Rig;

/// A JPEG file in CMYK, of the tests of the engine.
const CMYK: &[u8] = include_bytes!("../../../engine/tests/fixtures/vision/images/photo-cmyk.jpg");

/// Returns the header of a PNG file that claims a size, with a valid checksum.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    header.extend(crc(&header[12..29]).to_be_bytes());
    header.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    header
}

/// PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn gif_header(width: u16, height: u16) -> Vec<u8> {
    let mut header = b"GIF89a".to_vec();
    header.extend(width.to_le_bytes());
    header.extend(height.to_le_bytes());
    header.extend([0, 0, 0, b',', 0, 0, 0, 0]);
    header.extend(width.to_le_bytes());
    header.extend(height.to_le_bytes());
    header.extend([0, 2, 1, 0]);
    header
}

fn bmp_header(width: i32, height: i32) -> Vec<u8> {
    let mut header = b"BM".to_vec();
    header.extend([0; 8]);
    header.extend(54_u32.to_le_bytes());
    header.extend(40_u32.to_le_bytes());
    header.extend(width.to_le_bytes());
    header.extend(height.to_le_bytes());
    header.extend([1, 0, 24, 0]);
    header.extend([0; 24]);
    header
}

/// Bad files, with a part of the message about each.
fn bad_files() -> Vec<(String, Vec<u8>, &'static str)> {
    let mut files = Vec::new();
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp]
    {
        let whole = picture(120, 90, format);
        for quarter in 1..4 {
            let part = whole[..whole.len() * quarter / 4].to_vec();
            files.push((format!("{format:?} {quarter}/4"), part, "cannot be decoded"));
        }
        let mut head = whole[..whole.len().min(32)].to_vec();
        head.extend([0; 64]);
        files.push((format!("{format:?} with zeros"), head, "cannot be decoded"));
    }
    let mut damaged = png(120, 90);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    files.push(("PNG with a wrong checksum".into(), damaged, "cannot be decoded"));
    let mut add =
        |name: &str, bytes: Vec<u8>, message| files.push((name.to_owned(), bytes, message));
    add("empty", Vec::new(), "is empty (0 bytes)");
    add("one byte", vec![0x89], "supported are PNG");
    add("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "is an SVG file");
    add("SVG behind a declaration", b"<?xml version='1.0'?>\n<svg/>".to_vec(), "is an SVG file");
    add("PDF", b"%PDF-1.7\n%\xe2\xe3".to_vec(), "is a PDF file");
    add("HTML", b"<!DOCTYPE html><html></html>".to_vec(), "is a web page");
    add("JSON", b"{\"a\": 1}".to_vec(), "is a JSON text");
    add("text", b"just a text".to_vec(), "is a text");
    add("base64 twice", data_url(&png(4, 4)).into_bytes(), "is a text");
    add("TIFF", b"II*\0\x08\0\0\0".to_vec(), "is a TIFF file");
    add("HEIC", b"\0\0\0\x20ftypheic\0\0".to_vec(), "is a HEIC file");
    add("AVIF", b"\0\0\0\x20ftypavif\0\0".to_vec(), "is an AVIF file");
    add("MP4", b"\0\0\0\x20ftypisom\0\0".to_vec(), "is a video");
    add("WebM", b"\x1a\x45\xdf\xa3\0".to_vec(), "is a video");
    add("ZIP", b"PK\x03\x04\0\0".to_vec(), "is a ZIP file");
    add("noise", (0..200).map(|byte| byte ^ 0x5a).collect(), "unknown kind");
    add("bomb in PNG", png_header(60_000, 60_000), "60000 × 60000 pixels, more than the 64000000");
    add("bomb in PNG, one side", png_header(u32::MAX / 2, 1), "pixels");
    add("bomb in GIF", gif_header(65_535, 65_535), "more than the 64000000");
    add("bomb in BMP", bmp_header(60_000, 60_000), "more than the 64000000");
    add("100000 × 1", png(100_000, 1), "at most 200 times as long");
    add("1 × 100000", png(1, 100_000), "at most 200 times as long");
    add("201 : 1", png(402, 2), "at most 200 times as long");
    add("no pixels", png_header(0, 0), "");
    files
}

#[test]
fn bad_files_are_refused_by_their_place_and_not_stored() {
    let rig = Rig::start();
    let owner = tenant(&rig);
    let files = bad_files();
    assert!(files.len() >= 45, "{}", files.len());
    for (name, bytes, message) in files {
        let good = image_url(&data_url(&png(40, 30)));
        let body = chat_of(&json!([good, "What is this?", image_url(&data_url(&bytes))]));
        let began = Instant::now();
        let reply = rig.client().post(CHAT, &body);
        let took = began.elapsed();
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(took < Duration::from_secs(1), "{name} took {took:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["param"], "messages.0.content.2.image_url", "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{name}: {error}");
    }
    assert!(stored(&rig, &owner).is_empty(), "nothing of a refused request is stored");
}

#[test]
fn odd_but_good_files_are_accepted() {
    let rig = Rig::start();
    let frame = |shade: u8| RgbaImage::from_pixel(20, 20, Rgba([shade, 0, 0, 255]));
    let mut animated = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut animated);
        for shade in [0, 128, 255] {
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(frame(shade), 0, 0, delay)).unwrap();
        }
    }
    let deep: ImageBuffer<image::Luma<u16>, Vec<u16>> =
        ImageBuffer::from_fn(20, 20, |x, y| image::Luma([(x * y * 160) as u16]));
    for (name, bytes) in [
        ("1 × 1", png(1, 1)),
        ("200 : 1", png(400, 2)),
        ("animated", animated),
        ("16 bits", encoded(DynamicImage::ImageLuma16(deep), ImageFormat::Png)),
        ("CMYK", CMYK.to_vec()),
        ("transparent", encoded(frame(7).into(), ImageFormat::WebP)),
        ("2000 × 1500", png(2000, 1500)),
    ] {
        // The declared type is wrong for some of them: the content decides.
        let (claimed, reply) =
            task_of(&rig, CHAT, &chat_of(&json!([image_url(&data_url(&bytes))])));
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        assert_eq!(claimed.task.prompt.images(), 1, "{name}");
    }
}

#[test]
fn too_many_and_too_large_images_are_refused() {
    let rig = Rig::with(|options| {
        options.images.max = 2;
        options.images.max_bytes = 3_000;
    });
    let (small, large) = (data_url(&png(10, 10)), data_url(&png(200, 200)));
    let (param, message) = refused(&rig, &json!([image_url(&large)]));
    assert_eq!(param, "messages.0.content.0.image_url");
    assert!(message.contains("allowed are 3000"), "{message}");
    let three: Vec<Value> = (0..3).map(|_| image_url(&small)).collect();
    let (param, message) = refused(&rig, &json!(three));
    assert_eq!(param, "messages.0.content.2.image_url");
    assert!(message.contains("may have 2 images (MAX_IMAGES), has 3"), "{message}");
    // Those in files have the same limit.
    let file = crate::openai_files::uploaded(&rig.client(), "vision", &png(200, 200));
    let (_, message) = refused(&rig, &json!([image_url(&file)]));
    assert!(message.contains("allowed are 3000"), "{message}");
    assert_eq!(task_of(&rig, CHAT, &chat_of(&json!(three[..2]))).1.status, 200);

    let off = Rig::with(|options| options.images.max = 0);
    let (_, message) = refused(&off, &json!([image_url(&small)]));
    assert!(message.contains("takes no images (MAX_IMAGES=0)"), "{message}");
}

#[test]
fn a_body_has_room_for_one_large_image() {
    let rig = Rig::with(|options| options.images.max_bytes = 12_000_000);
    // A format that does not compress.
    let large = encoded(image::RgbImage::new(1_990, 1_990).into(), ImageFormat::Bmp);
    assert!(large.len() > 11_000_000, "{}", large.len());
    let (claimed, reply) = task_of(&rig, CHAT, &chat_of(&json!([image_url(&data_url(&large))])));
    assert_eq!((reply.status, claimed.task.prompt.images()), (200, 1));
    let (claimed, _) =
        task_of(&rig, "/generate", &json!({"prompt": "x", "images": data_url(&large)}));
    assert_eq!(claimed.task.prompt.images(), 1);
}
