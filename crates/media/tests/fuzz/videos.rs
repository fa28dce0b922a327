//! Damaged animations and videos, and programs that write anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use media::ImageLimits;
use media::video::{Container, Programs, Video, VideoError, VideoKind, VideoLimits, look_up};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::mutate::mutate;
use crate::samples;
use crate::seeds::seeds;
use crate::within;

const LIMITS: VideoLimits = VideoLimits {
    max_bytes: 1 << 20,
    max_pixels: 1 << 16,
    max_frames: 100,
    max_time: Duration::from_secs(2),
};
/// The most bytes of memory: some times the pixels of a frame, and a decoder's tables.
const MEMORY: u64 = 40 * LIMITS.max_pixels + (1 << 20);
/// The most time of an input: the programs' time, and much more for a machine that is busy with other work.
const PATIENCE: Duration = Duration::from_secs(40);

/// Looks a video up and decodes its first frames; checks what comes. Returns whether it is usable.
fn try_out(label: &str, bytes: &[u8], programs: Option<&Programs>) -> bool {
    let began = Instant::now();
    let (outcome, memory) = within(label, || {
        let video = look_up(bytes, &LIMITS, programs)?;
        let chosen: Vec<usize> = (0..video.times.len().min(3)).collect();
        take(label, &video, bytes, programs, &chosen)?;
        Ok(video)
    });
    assert!(began.elapsed() < PATIENCE, "{label} takes {:?}", began.elapsed());
    assert!(memory <= MEMORY, "{label} takes {memory} bytes");
    judge(label, outcome)
}

/// Decodes chosen frames.
fn take(
    label: &str,
    video: &Video,
    bytes: &[u8],
    programs: Option<&Programs>,
    chosen: &[usize],
) -> Result<(), VideoError> {
    let mut frames = 0;
    video.decode(bytes, &LIMITS, programs, chosen, &mut |frame| {
        let pixels = u64::from(frame.width) * u64::from(frame.height);
        assert!(pixels <= LIMITS.max_pixels, "{label}");
        assert_eq!(frame.rgb.len() as u64, 3 * pixels, "{label}");
        frames += 1;
    })?;
    assert_eq!(frames, chosen.len(), "{label}");
    Ok(())
}

fn judge(label: &str, outcome: Result<Video, VideoError>) -> bool {
    match outcome {
        Ok(video) => {
            assert!((1..=LIMITS.max_frames).contains(&video.times.len()), "{label}");
            let times = &video.times;
            assert!(times[0] == 0.0 && times.is_sorted(), "{label}: {times:?}");
            assert!(times.iter().all(|time| time.is_finite()), "{label}: {times:?}");
            assert!(video.fps.is_finite() && video.fps > 0.0, "{label}: {}", video.fps);
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 500 && !text.contains('\n'), "{label}: {text}");
            false
        }
    }
}

#[test]
fn damaged_animations_are_decoded_or_refused() {
    let originals = samples::animations();
    let mut usable = [0, 0];
    for seed in seeds() {
        let (label, bytes) = samples::damaged(&originals, seed, true);
        let is_usable = try_out(&label, &bytes, None);
        usable[usize::from(is_usable)] += 1;
    }
    println!("{} decoded, {} refused", usable[1], usable[0]);
    assert!(usable.iter().all(|count| *count > 0));
}

#[test]
fn damaged_videos_are_decoded_or_refused() {
    let programs = Programs::find().expect("ffmpeg and ffprobe are installed");
    let originals = samples::videos();
    let mut usable = [0, 0];
    for seed in seeds() {
        let (label, bytes) = samples::damaged(&originals, seed, false);
        let is_usable = try_out(&label, &bytes, Some(&programs));
        usable[usize::from(is_usable)] += 1;
    }
    println!("{} decoded, {} refused", usable[1], usable[0]);
}

#[test]
fn programs_that_write_anything_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ffmpeg", "ffprobe"] {
        // They write what follows the first line of the file.
        let path = folder.path().join(name);
        fs::write(&path, "#!/bin/sh\nexec tail -n +2\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let programs = Programs::find_in(folder.path().as_os_str()).unwrap();
    const MP4: &[u8] = b"\0\0\0\x08free\n";
    let frames = [b"P6\n5 4\n255\n".to_vec(), vec![b'x'; 60]].concat().repeat(3);
    let outputs = [
        b"packet,0.0\npacket,0.25,\npacket,N/A\npacket,0.5\nstream,20,14\n".as_slice(),
        b"packet,nan\npacket,-1e308\npacket,1e308\npacket,inf\nstream,20,14\n",
        &frames,
    ];
    let mut usable = [0, 0];
    for seed in seeds() {
        let mut random = StdRng::seed_from_u64(seed);
        let index = seed as usize % outputs.len();
        let mut written = outputs[index].to_vec();
        if seed >= outputs.len() as u64 {
            mutate(&mut written, &mut random);
        }
        let bytes = [MP4, &written].concat();
        let label = format!("what a program writes with seed {seed}");
        let is_usable = match index == 2 {
            false => {
                let looked_up = || look_up(&bytes, &LIMITS, Some(&programs));
                let (found, memory) = within(&label, looked_up);
                assert!(memory <= MEMORY, "{label} takes {memory} bytes");
                judge(&label, found)
            }
            true => {
                let video = Video {
                    kind: VideoKind::Contained(Container::Mp4),
                    times: vec![0.0, 1.0, 2.0],
                    fps: 1.0,
                };
                let decoded =
                    || take(&label, &video, &bytes, Some(&programs), &[0, 1, 2]).map(|()| video);
                let (decoded, memory) = within(&label, decoded);
                assert!(memory <= MEMORY, "{label} takes {memory} bytes");
                judge(&label, decoded)
            }
        };
        usable[usize::from(is_usable)] += 1;
    }
    println!("{} usable, {} refused", usable[1], usable[0]);
    assert!(usable.iter().all(|count| *count > 0));
}

#[test]
fn any_bytes_have_a_kind_or_a_name() {
    let mut originals = samples::animations();
    originals.extend(samples::videos());
    originals.iter_mut().for_each(|(_, bytes)| bytes.truncate(64));
    for seed in seeds() {
        let (label, bytes) = samples::damaged(&originals, seed, false);
        let (kind, memory) = within(&label, || VideoKind::of(&bytes));
        assert!(memory < 1024, "{label} takes {memory} bytes");
        if let Ok(VideoKind::Animation(kind)) = kind {
            let images = ImageLimits { max_bytes: 0, max_pixels: 0 };
            assert_eq!(media::Kind::of(&bytes), Ok(kind), "{label}");
            assert!(media::read_header(&bytes, &images).is_err(), "{label}");
        }
    }
}
