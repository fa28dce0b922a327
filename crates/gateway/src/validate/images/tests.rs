use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use protocol::BlobId;
use serde_json::json;

use super::*;

const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

fn rules() -> ImageRules {
    let (max_bytes, max_video_bytes) = (300, 300);
    ImageRules { max: 2, max_bytes, max_video_bytes, ..ImageRules::default() }
}

fn images() -> Sources {
    Sources::new(&rules(), VisualKind::Image)
}

/// Reads a part. Returns its source, or the path and the text of its problem.
fn read(part: Value) -> Result<Source, String> {
    let mut reader = ImageReader::new(rules());
    match reader.openai_part(part.as_object().unwrap()) {
        Ok(_) => Ok(reader.pending.remove(0).source),
        Err(problem) => Err(format!("{:?}: {}", problem.path, problem.message)),
    }
}

fn url(text: &str) -> Result<Source, String> {
    read(json!({"type": "image_url", "image_url": {"url": text}}))
}

#[test]
fn data_urls_and_ids_are_read_in_all_their_forms() {
    let bytes: Vec<u8> = (0..=255).collect();
    let source = Source::Bytes(bytes.clone().into());
    let expected = Ok(source.clone());
    let lines = STANDARD.encode(&bytes).into_bytes();
    let lines: Vec<&[u8]> = lines.chunks(76).collect();
    let lines = String::from_utf8(lines.join(&b"\r\n"[..])).unwrap();
    for text in [
        format!("data:image/png;base64,{}", STANDARD.encode(&bytes)),
        format!(" DATA:image/png;charset=utf-8;BASE64,{}", STANDARD_NO_PAD.encode(&bytes)),
        format!("data:;base64,{}", URL_SAFE.encode(&bytes)),
        format!("data:text/plain;base64,{lines}"),
    ] {
        assert_eq!(url(&text), expected, "{text}");
        assert_eq!(read(json!({"type": "input_image", "image_url": text})), expected);
        assert_eq!(read(json!({"type": "image", "image": text})), expected);
        assert_eq!(
            images().any(&format!("![a (picture)]({text})")).map_err(|_| ()),
            Ok(source.clone())
        );
    }
    assert_eq!(images().any(&lines).map_err(|_| ()), Ok(source));
    let blob: BlobId = ID.parse().unwrap();
    for id in [ID.to_owned(), format!("file-{}", ID.replace('-', ""))] {
        assert_eq!(url(&id), Ok(Source::Blob(blob)));
        assert_eq!(read(json!({"type": "input_image", "file_id": id})), Ok(Source::Blob(blob)));
        assert_eq!(images().any(&id).map_err(|_| ()), Ok(Source::Blob(blob)));
    }
}

#[test]
fn problems_say_what_is_allowed() {
    for (text, expected) in [
        ("data:image/png;base64", "no comma"),
        ("data:image/png,abc", "not in base64"),
        ("data:image/png;base64,abc$", "can't be decoded: Invalid symbol 36, offset 3"),
        ("data:image/png;base64,abcde", "can't be decoded"),
        ("cat.png", "expected a data URL (data:image/png;base64,…), or the id of a file"),
        ("file-123", "got 'file-123'"),
        ("https://example.org/cat.png", "IMAGE_DOWNLOAD=off"),
        ("HTTP://example.org/cat.png", "send the image itself as a data URL"),
        ("ftp://example.org/cat.png", "expected a data URL"),
        ("", "got ''"),
    ] {
        let problem = url(text).unwrap_err();
        assert!(problem.contains(expected) && problem.contains("image_url"), "{text}: {problem}");
    }
    let long = format!("data:image/png;base64,{}", "A".repeat(500));
    let problem = url(&long).unwrap_err();
    assert!(problem.contains("the image has 375 bytes; allowed are 300"), "{problem}");
    for (part, expected) in [
        (json!({"type": "image_url"}), "[]: expected {"),
        (json!({"type": "image_url", "image_url": 7}), "got an integer"),
        (json!({"type": "image_url", "image_url": {}}), "got an object"),
        (json!({"type": "image_url", "image_url": {"url": null}}), "got an object"),
    ] {
        let problem = read(part).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

/// Reads parts with these details, and the fields of a request.
fn pixels(details: &[&str], fields: Value) -> Result<PixelLimits, String> {
    let mut reader = ImageReader::new(rules());
    for detail in details {
        let part = json!({"type": "image_url", "image_url": {"url": ID, "detail": detail}});
        reader.openai_part(part.as_object().unwrap()).unwrap();
    }
    let mut fields = Fields::lenient(&fields).unwrap();
    let (_, pixels) = reader.finish(&mut fields);
    fields.finish(Some(pixels)).map_err(|problems| problems[0].message.clone())
}

#[test]
fn pixels_come_from_fields_or_from_low_detail() {
    let limits = |min, max| Ok(PixelLimits { min, max });
    assert_eq!(pixels(&["low"], json!({})), limits(None, Some(262_144)));
    assert_eq!(pixels(&["low", "auto"], json!({})), limits(None, Some(262_144)));
    assert_eq!(pixels(&["low", "high"], json!({})), limits(None, None));
    assert_eq!(pixels(&["auto"], json!({})), limits(None, None));
    let given = json!({"min_pixels": 4096, "max_pixels": 100_000});
    assert_eq!(pixels(&["low"], given.clone()), limits(Some(4096), Some(100_000)));
    assert_eq!(
        pixels(&[], json!({"mm_processor_kwargs": given})),
        limits(Some(4096), Some(100_000))
    );
    let crossed = pixels(&[], json!({"min_pixels": 2, "max_pixels": 1})).unwrap_err();
    assert!(crossed.contains("at most max_pixels, 1, is 2"), "{crossed}");
    assert!(pixels(&[], json!({"max_pixels": 0})).unwrap_err().contains("from 1 to"));
    assert!(
        pixels(&["low"; 3], json!({}))
            .unwrap_err()
            .contains("may have 2 images (MAX_IMAGES), has 3")
    );
}
