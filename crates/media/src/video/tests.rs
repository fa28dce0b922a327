//! Videos that ffmpeg makes, animations, and files that are none.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, Rgba, RgbaImage};

use super::*;

/// Returns the programs, which `scripts/test` installs.
fn programs() -> Programs {
    Programs::find().expect("ffmpeg and ffprobe are installed")
}

/// Makes a video of 64 × 48 pixels by ffmpeg: frame `n` is grey, of brightness `8 · n`.
fn make(format: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video");
    let source = "color=s=64x48:r=10:d=2,geq=lum='16+8*N':cb=128:cr=128";
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", source]).args(options);
    let status = command.args(["-f", format]).arg(&path).stdin(Stdio::null()).status().unwrap();
    assert!(status.success());
    std::fs::read(path).unwrap()
}

fn decode(bytes: &[u8], indices: &[usize]) -> Result<(Video, Vec<Image>), VideoError> {
    let (limits, programs) = (VideoLimits::default(), programs());
    let video = look_up(bytes, &limits, Some(&programs))?;
    let mut images = Vec::new();
    video.decode(bytes, &limits, Some(&programs), indices, &mut |image| images.push(image))?;
    Ok((video, images))
}

fn brightness(image: &Image) -> i32 {
    i32::from(image.rgb[(image.rgb.len() / 2) | 1])
}

#[test]
fn chosen_frames_of_each_container_are_decoded() {
    for (format, options) in [
        ("mp4", &["-c:v", "libx264", "-pix_fmt", "yuv420p"][..]),
        ("mov", &["-c:v", "mpeg4", "-q:v", "2"]),
        ("webm", &["-c:v", "libvpx", "-b:v", "1M"]),
        ("matroska", &["-c:v", "ffv1"]),
        ("avi", &["-c:v", "mjpeg", "-q:v", "2"]),
    ] {
        let (video, images) = decode(&make(format, options), &[0, 7, 19]).unwrap();
        assert_eq!(video.times.len(), 20, "{format}");
        assert!((video.fps - 10.0).abs() < 0.1, "{format}: {}", video.fps);
        assert!((video.times[19] - 1.9).abs() < 0.01, "{format}: {:?}", video.times);
        let found: Vec<_> = images.iter().map(brightness).collect();
        for (found, frame) in found.iter().zip([0, 7, 19]) {
            let expected = (8.0 * 255.0 / 219.0 * f64::from(frame)) as i32;
            assert!((found - expected).abs() < 12, "{format}: frame {frame} has {found}");
        }
        assert_eq!((images[0].width, images[0].height), (64, 48));
    }
}

#[test]
fn times_are_those_of_the_file_and_frames_are_turned() {
    // Each second frame is dropped in the first second: a rate that varies.
    let drop = ["-vf", "select='gt(n,9)+not(mod(n,2))'", "-fps_mode", "vfr", "-c:v", "mpeg4"];
    let (video, _) = decode(&make("mp4", &drop), &[0]).unwrap();
    assert_eq!(video.times.len(), 15);
    assert!((video.times[4] - 0.8).abs() < 0.01 && (video.times[5] - 1.0).abs() < 0.01);

    let plain = make("mp4", &["-c:v", "mpeg4"]);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from.mp4"), folder.path().join("to.mp4"));
    std::fs::write(&from, plain).unwrap();
    let mut turn = Command::new("ffmpeg");
    turn.args(["-v", "error", "-display_rotation", "90", "-i"]).arg(&from);
    turn.args(["-c", "copy"]).arg(&to);
    if turn.status().unwrap().success() {
        let (_, images) = decode(&std::fs::read(to).unwrap(), &[3]).unwrap();
        assert_eq!((images[0].width, images[0].height), (48, 64));
    }
}

#[test]
fn animations_need_no_program() {
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new(&mut gif);
    for level in [0_u8, 100, 200] {
        let pixels = RgbaImage::from_pixel(10, 6, Rgba([level, level, level, 255]));
        let delay = Delay::from_numer_denom_ms(250, 1);
        encoder.encode_frame(Frame::from_parts(pixels, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    let limits = VideoLimits::default();
    let video = look_up(&gif, &limits, None).unwrap();
    assert_eq!((video.times.as_slice(), video.fps), (&[0.0, 0.25, 0.5][..], 4.0));
    let mut found = Vec::new();
    video
        .decode(&gif, &limits, None, &[0, 2], &mut |image| found.push(brightness(&image)))
        .unwrap();
    assert!(found[0] < 8 && (found[1] - 200).abs() < 8, "{found:?}");
    let few = VideoLimits { max_frames: 2, ..limits };
    assert_eq!(look_up(&gif, &few, None), Err(VideoError::TooManyFrames { most: 2 }));
}

#[test]
fn what_is_no_video_is_refused_with_the_reason() {
    let said = |bytes: &[u8]| decode(bytes, &[0]).unwrap_err().to_string();
    assert_eq!(said(b""), "the video is empty (0 bytes)");
    // Lists that name other files.
    for list in [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "<?xml version=\"1.0\"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    ] {
        let said = said(list.as_bytes());
        assert!(said.contains("supported are MP4") && !said.contains("root"), "{said}");
    }
    let sound = make("mp4", &["-f", "lavfi", "-i", "sine=d=1", "-map", "1:a", "-c:a", "aac"]);
    assert_eq!(said(&sound), "the MP4 file has no video");
    let video = make("mp4", &["-c:v", "mpeg4"]);
    for quarter in 1..4 {
        let cut = &video[..video.len() * quarter / 4];
        assert!(said(cut).starts_with("the MP4 video cannot be decoded: "), "{}", said(cut));
    }
    let mut wrong = video.clone();
    wrong[40..].fill(0x5a);
    assert!(said(&wrong).contains("MP4"), "{}", said(&wrong));
    let without = look_up(&video, &VideoLimits::default(), None).unwrap_err();
    assert!(without.to_string().contains("ffmpeg and ffprobe are not installed"));
}

#[test]
fn large_long_and_slow_videos_are_refused() {
    let video = make("mp4", &["-c:v", "mpeg4"]);
    let limits = VideoLimits::default();
    let refused = |limits: VideoLimits| look_up(&video, &limits, Some(&programs())).unwrap_err();
    assert!(matches!(
        refused(VideoLimits { max_pixels: 1_000, ..limits }),
        VideoError::Frame(_) | VideoError::Damaged { .. }
    ));
    assert_eq!(
        refused(VideoLimits { max_frames: 5, ..limits }),
        VideoError::TooManyFrames { most: 5 }
    );
    assert!(matches!(
        refused(VideoLimits { max_bytes: 9, ..limits }),
        VideoError::TooManyBytes { .. }
    ));
    let began = Instant::now();
    let slow = VideoLimits { max_time: Duration::from_millis(1), ..limits };
    assert!(matches!(refused(slow), VideoError::TooSlow { .. }));
    assert!(began.elapsed() < Duration::from_secs(5));
}
