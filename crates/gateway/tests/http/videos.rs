//! Tests requests with videos: what reaches the task, and files that are no usable videos.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, Rgba, RgbaImage};
use protocol::{Part, Prompt, Task};
use serde_json::{Value, json};

use crate::images::{
    bytes_of, chat_of, data_url, image_url, png, refused, stored, task_of, tenant,
};
use crate::openai::CHAT;
use crate::openai_files::uploaded;
use crate::rig::{OTHER_KEY, Rig};

/// Makes a video of a second by ffmpeg, which `scripts/test` installs.
fn make(format: &str, source: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", source]).args(options);
    let status = command.args(["-f", format]).arg(&path).stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
    std::fs::read(path).unwrap()
}

fn mp4() -> Vec<u8> {
    make("mp4", "testsrc=s=64x48:r=4:d=1", &["-c:v", "mpeg4"])
}

/// Returns an animation of three frames.
pub(crate) fn gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for shade in [0_u8, 100, 200] {
        let pixels = RgbaImage::from_pixel(20, 20, Rgba([shade, 0, 0, 255]));
        let delay = Delay::from_numer_denom_ms(250, 1);
        encoder.encode_frame(Frame::from_parts(pixels, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    bytes
}

pub(crate) fn video_data_url(bytes: &[u8]) -> String {
    format!("data:video/mp4;base64,{}", STANDARD.encode(bytes))
}

/// Returns a part of vLLM's with a video.
fn video_url(url: &str) -> Value {
    json!({"type": "video_url", "video_url": {"url": url}})
}

/// Describes the parts of the last message: texts as they are, images and videos by their bytes' number among `known`.
fn shown(rig: &Rig, task: &Task, known: &[&[u8]]) -> Vec<String> {
    let Prompt::Chat(messages) = &task.prompt else { panic!("{:?}", task.prompt) };
    let number = |blob: &str| {
        let bytes = bytes_of(rig, &task.tenant, blob);
        known.iter().position(|known| *known == bytes).expect("one of the request")
    };
    let part = |part: &Part| match part {
        Part::Text { text } => text.clone(),
        Part::Image { blob } => format!("image {}", number(blob)),
        Part::Video { blob } => format!("video {}", number(blob)),
        other => format!("{other:?}"),
    };
    messages.last().unwrap().parts.iter().map(part).collect()
}

#[test]
fn videos_keep_their_places_among_texts_and_images() {
    let rig = Rig::start();
    let (gif, mp4, png) = (gif(), mp4(), png(40, 30));
    let known = [&*gif, &mp4, &png];
    let id = uploaded(&rig.client(), "vision", &mp4);
    let uploading = rig.client().with("content-type", "application/octet-stream");
    let blob =
        uploading.send("POST", "/blobs", Some(&mp4)).json()["id"].as_str().unwrap().to_owned();
    let (a, b) = (video_data_url(&gif), video_data_url(&mp4));
    for (parts, expected) in [
        (json!([video_url(&a)]), vec!["video 0"]),
        (
            json!([{"type": "text", "text": "x"}, video_url(&b), image_url(&data_url(&png)), "y", video_url(&a)]),
            vec!["x", "video 1", "image 2", "y", "video 0"],
        ),
        (json!([{"type": "video_url", "video_url": b}, "x"]), vec!["video 1", "x"]),
        (json!([{"type": "video", "video": a}, "x"]), vec!["video 0", "x"]),
        (json!([{"type": "input_video", "video_url": a}, "x"]), vec!["video 0", "x"]),
        (json!([{"type": "input_video", "file_id": id}, "x"]), vec!["video 1", "x"]),
        (json!([video_url(&blob), "x"]), vec!["video 1", "x"]),
        // The same file is an image and a video.
        (json!([image_url(&a), video_url(&a)]), vec!["image 0", "video 0"]),
    ] {
        let (claimed, reply) = task_of(&rig, CHAT, &chat_of(&parts));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(shown(&rig, &claimed.task, &known), expected, "{parts}");
    }
    let body = json!({"messages": [{"role": "user", "content": [video_url(&a), "x"]}]});
    let (claimed, reply) = task_of(&rig, "/generate", &body);
    assert_eq!(
        (reply.status, shown(&rig, &claimed.task, &known)),
        (202, vec!["video 0".into(), "x".into()])
    );
    // Each file was stored once.
    assert_eq!(stored(&rig, &claimed.task.tenant).len(), 3);
}

/// Files that are no usable videos, with a part of the message about each.
fn bad_files() -> Vec<(String, Vec<u8>, &'static str)> {
    let mut files = Vec::new();
    for (name, whole) in [("MP4", mp4()), ("GIF", gif())] {
        for quarter in 1..4 {
            let part = whole[..whole.len() * quarter / 4].to_vec();
            files.push((format!("{name} {quarter}/4"), part, "cannot be decoded"));
        }
    }
    let mut add =
        |name: &str, bytes: Vec<u8>, message| files.push((name.to_owned(), bytes, message));
    let sound = make("mp4", "sine=d=1", &["-c:a", "aac"]);
    add("sound alone", sound, "has no video");
    let mut damaged = mp4();
    damaged[40..].fill(0x5a);
    add("MP4 with noise", damaged, "MP4");
    add("empty", Vec::new(), "is empty (0 bytes)");
    add("text", b"just a text".to_vec(), "is a text");
    add("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), "is JPEG");
    add("PDF", b"%PDF-1.7\n%\xe2\xe3".to_vec(), "is a PDF file");
    add("HEIC", b"\0\0\0\x20ftypheic\0\0".to_vec(), "is a HEIC file");
    add("head of WebM", b"\x1a\x45\xdf\xa3\0".to_vec(), "cannot be decoded");
    // Lists that name other files.
    let m3u = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n";
    add("HLS", m3u.into(), "supported are MP4");
    add("list of ffmpeg", "ffconcat version 1.0\nfile /etc/passwd\n".into(), "supported are MP4");
    let dash = "<?xml version=\"1.0\"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>";
    add("DASH", dash.into(), "is an XML file");
    // A list behind the mark of an MP4 file is read as MP4.
    let hidden = [b"\0\0\0\x08free".as_slice(), m3u.as_bytes()].concat();
    add("HLS as MP4", hidden, "MP4");
    files
}

#[test]
fn bad_videos_are_refused_by_their_place_and_not_stored() {
    let rig = Rig::start();
    let owner = tenant(&rig);
    for (name, bytes, message) in bad_files() {
        let good = video_url(&video_data_url(&gif()));
        let body = chat_of(&json!([good, "What is this?", video_url(&video_data_url(&bytes))]));
        let began = Instant::now();
        let reply = rig.client().post(CHAT, &body);
        let took = began.elapsed();
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(took < Duration::from_secs(1), "{name} took {took:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["param"], "messages.0.content.2.video_url", "{name}: {error}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(message), "{name}: {error}");
        assert!(!said.contains("root:") && !said.contains("/dev/"), "{name}: {error}");
    }
    assert!(stored(&rig, &owner).is_empty(), "nothing of a refused request is stored");
}

#[test]
fn other_forms_and_places_are_refused() {
    let rig = Rig::start();
    let url = video_data_url(&gif());
    let theirs = uploaded(&rig.client_with(Some(OTHER_KEY)), "vision", &gif());
    for (part, at, message) in [
        (
            json!({"type": "video", "video": [url, url]}),
            ".video",
            "lists of frames are not supported",
        ),
        (json!({"type": "video_url"}), "", "expected {\"type\": \"video_url\""),
        (video_url("https://example.com/a.mp4"), ".video_url", "videos are not downloaded"),
        (video_url("file:///etc/passwd"), ".video_url", "expected a data URL"),
        (video_url("data:video/mp4,abc"), ".video_url", "is not in base64"),
        (json!({"type": "video_url", "video_url": 7}), ".video_url", "expected a string"),
        (video_url(&theirs), ".video_url", "there is no file or blob"),
    ] {
        let (param, said) = refused(&rig, &json!(["x", part]));
        assert_eq!(param, format!("messages.0.content.1{at}"), "{part}: {said}");
        assert!(said.contains(message), "{part}: {said}");
    }
    let messages =
        json!([{"role": "system", "content": [video_url(&url)]}, {"role": "user", "content": "x"}]);
    let reply = rig.client().post(CHAT, &json!({"model": "demo", "messages": messages}));
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("messages.0.content"))
    );
}

#[test]
fn videos_have_limits_of_their_own() {
    let rig = Rig::with(|options| {
        options.images.max = 2;
        options.images.max_bytes = 100_000;
        options.images.max_video_bytes = 2_000;
    });
    let (small, large) = (gif(), mp4());
    assert!(small.len() < 2_000 && large.len() > 2_000, "{} {}", small.len(), large.len());
    let (param, message) = refused(&rig, &json!([video_url(&video_data_url(&large))]));
    assert_eq!(param, "messages.0.content.0.video_url");
    assert!(message.contains("allowed are 2000"), "{message}");
    // Those in files have the same limit.
    let file = uploaded(&rig.client(), "vision", &large);
    let (_, message) = refused(&rig, &json!([video_url(&file)]));
    assert!(message.contains("allowed are 2000"), "{message}");
    // Images may be larger, and both count together.
    let image = image_url(&data_url(&png(100, 100)));
    let video = video_url(&video_data_url(&small));
    assert_eq!(task_of(&rig, CHAT, &chat_of(&json!([image, video]))).1.status, 200);
    let (param, message) = refused(&rig, &json!([image, video, video]));
    assert_eq!(param, "messages.0.content.2.video_url");
    assert!(message.contains("may have 2 images (MAX_IMAGES), has 3"), "{message}");
}
