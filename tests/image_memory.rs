//! Measures how a gateway's process grows when many clients send hostile images at once.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::client::{Answer, Client};
use harness::system::{Plan, System};
use serde_json::json;

/// Clients that send at the same time.
const CLIENTS: usize = 16;
/// Requests of each image.
const TIMES: usize = 2;
/// The largest growth: an image that is decoded alone (1 GiB), and four large bodies, each three times while it is read.
const MOST_MIB: u64 = 1024 + 4 * 3 * 27;

/// Returns a number of the process's status, in MiB.
fn mib(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("{field} of {pid}")) / 1024
}

/// Makes an image of one color by ffmpeg, which compresses it well.
fn plain(folder: &Path, name: &str, options: &[&str]) -> Vec<u8> {
    let path = folder.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "color=s=8000x8000", "-frames:v", "1"]);
    assert!(command.args(options).arg(&path).status().expect("ffmpeg").success(), "{name}");
    std::fs::read(path).expect("the image")
}

/// Returns bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Returns a BMP file of 20 MB whose pixels are noise.
fn noisy_bmp() -> Vec<u8> {
    let (width, height) = (2_560_u32, 2_600_u32);
    let size = width * height * 3;
    let mut file = b"BM".to_vec();
    for number in [54 + size, 0, 54, 40, width, height] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1, 0, 24, 0]);
    for number in [0, size, 0, 0, 0, 0] {
        file.extend(u32::to_le_bytes(number));
    }
    file.extend(noise(size as usize));
    file
}

/// Returns the images by their names, and whether each is usable.
fn hostile() -> Vec<(&'static str, Vec<u8>, bool)> {
    let folder = tempfile::tempdir().expect("a folder");
    let eight = plain(folder.path(), "8.png", &["-pix_fmt", "rgb24"]);
    let sixteen = plain(folder.path(), "16.png", &["-pix_fmt", "rgba64be"]);
    let jpeg = plain(folder.path(), "a.jpg", &["-q:v", "31"]);
    let mut bomb = eight.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let mut false_png = eight[..64].to_vec();
    false_png.extend(noise(19_900_000));
    vec![
        ("64 million pixels", eight.clone(), true),
        ("64 million pixels of 64 bits", sixteen.clone(), true),
        ("64 million pixels in JPEG", jpeg.clone(), true),
        ("half of 64 million pixels", eight[..eight.len() / 2].to_vec(), false),
        ("half of 64 million pixels of 64 bits", sixteen[..sixteen.len() / 2].to_vec(), false),
        ("half of 64 million pixels in JPEG", jpeg[..jpeg.len() / 2].to_vec(), false),
        ("4 billion pixels by the header", bomb, false),
        ("20 MB of noise in BMP", noisy_bmp(), true),
        ("20 MB of noise behind the header of a PNG", false_png, false),
    ]
}

#[test]
fn many_hostile_images_at_once_need_bounded_memory() {
    let plan = Plan { model: "demo", workers: 0, lease: Duration::from_secs(10), settings: &[] };
    let mut system = System::start(&plan);
    let (pid, port) = (system.gateway.process().pid(), system.client.port());
    let images = hostile();
    let bodies: Vec<_> = images
        .iter()
        .map(|(_, bytes, _)| {
            let url = format!("data:image/png;base64,{}", STANDARD.encode(bytes));
            json!({"prompt": "x", "images": [url]})
        })
        .collect();
    let before = mib(pid, "VmRSS");
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = Client::new(port);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= TIMES * images.len() {
                        return;
                    }
                    let (name, _, is_usable) = &images[index % images.len()];
                    let began = Instant::now();
                    let Answer { status, body, .. } = client
                        .try_post("/generate", &bodies[index % images.len()])
                        .unwrap_or_else(|| panic!("{name}: no response"));
                    println!("{name}: {status} after {:?}", began.elapsed());
                    let expected = if *is_usable { 202 } else { 422 };
                    // A body that waits for others for too long is refused.
                    assert!(status == expected || status == 503, "{name}: {status} {body}");
                }
            });
        }
    });
    let peak = mib(pid, "VmHWM");
    println!("before {before} MiB, at most {peak} MiB, in {:?}", began.elapsed());
    assert!(peak - before <= MOST_MIB, "it grew from {before} to {peak} MiB");
    assert_eq!(system.client.get("/health").status, 200);
}
