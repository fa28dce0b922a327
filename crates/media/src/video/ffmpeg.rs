//! Runs `ffprobe` and `ffmpeg` on a file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Container, VideoError, VideoLimits};
use crate::{Image, check_size};

/// Bytes of messages that are kept.
const MESSAGE_BYTES: u64 = 2_000;
/// Bytes of a line of `ffprobe`.
const LINE_BYTES: u64 = 256;
/// Times of frames in seconds are below this; a larger one is no time.
const MAX_TIME: f64 = 1e9;
/// Bytes of a frame that decoders may take at once for each of its pixels, and for all else.
const PIXEL_BYTES: u64 = 8;
const SPARE_BYTES: u64 = 64 << 20;
/// The file, which is the program's standard input. Opened by this name it can be read in any order.
const INPUT: &str = "file:/dev/stdin";

/// The programs that decode videos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
}

impl Programs {
    /// Finds both programs in `PATH`.
    pub fn find() -> Option<Self> {
        Self::find_in(&std::env::var_os("PATH")?)
    }

    /// Finds both programs in a list of folders, as `PATH` is.
    pub fn find_in(path: &OsStr) -> Option<Self> {
        let find = |name: &str| {
            let places = std::env::split_paths(path).filter(|folder| folder.is_absolute());
            places.map(|folder| folder.join(name)).find(|program| program.is_file())
        };
        Some(Self { ffmpeg: find("ffmpeg")?, ffprobe: find("ffprobe")? })
    }

    /// Returns the times of all frames in the order in which they are shown, in seconds after the first.
    pub(super) fn times(
        &self,
        bytes: &[u8],
        container: Container,
        limits: &VideoLimits,
    ) -> Result<Vec<f64>, VideoError> {
        let mut command = Command::new(&self.ffprobe);
        reading(&mut command, container, limits);
        command.args(["-select_streams", "v:0", "-of", "csv"]);
        command.args(["-show_entries", "packet=pts_time:stream=width,height"]);
        let mut times = Vec::new();
        let mut size = None;
        let ended = run(command, bytes, limits.max_time, |output| {
            let mut line = String::new();
            loop {
                line.clear();
                if output.by_ref().take(LINE_BYTES).read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let mut words = line.trim_end().split(',');
                match words.next() {
                    Some("packet") => {
                        let time = words.next().and_then(|time| time.parse().ok());
                        times.push(time.filter(|time: &f64| time.abs() < MAX_TIME));
                        if times.len() > limits.max_frames {
                            return Ok(());
                        }
                    }
                    Some("stream") => size = words.next().zip(words.next()).map(pair),
                    _ => {}
                }
            }
        })?;
        if times.len() > limits.max_frames {
            return Err(VideoError::TooManyFrames { most: limits.max_frames });
        }
        ended.check(container, limits)?;
        let Some((width, height)) = size.flatten() else {
            return Err(VideoError::NoFrames { kind: container.as_str() });
        };
        check_size(width, height, &limits.images())?;
        // Frames without a time are shown one after another.
        let mut times: Vec<f64> =
            times.into_iter().enumerate().map(|(n, time)| time.unwrap_or(n as f64)).collect();
        times.sort_by(f64::total_cmp);
        let first = times.first().copied().unwrap_or_default();
        times.iter_mut().for_each(|time| *time -= first);
        Ok(times)
    }

    /// Decodes the frames of ascending indices. Returns how many there were.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        container: Container,
        limits: &VideoLimits,
        indices: &[usize],
        take: &mut dyn FnMut(Image),
    ) -> Result<usize, VideoError> {
        let chosen: Vec<String> = indices.iter().map(|index| format!("eq(n,{index})")).collect();
        let mut command = Command::new(&self.ffmpeg);
        command.args(["-nostdin", "-hide_banner"]);
        reading(&mut command, container, limits);
        command.args(["-map", "0:v:0", "-vf", &format!("select='{}'", chosen.join("+"))]);
        command.args(["-fps_mode", "passthrough", "-frames:v", &indices.len().to_string()]);
        command.args(["-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]);
        let (mut taken, mut problem) = (0, None);
        let ended = run(command, bytes, limits.max_time, |output| {
            while taken < indices.len() {
                match frame(output, limits) {
                    Ok(Some(image)) => take(image),
                    Ok(None) => break,
                    Err(FrameError::Read(error)) => return Err(error),
                    Err(FrameError::Refused(refused)) => {
                        problem = Some(refused);
                        break;
                    }
                }
                taken += 1;
            }
            Ok(())
        })?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        if taken < indices.len() {
            ended.check(container, limits)?;
        }
        Ok(taken)
    }
}

fn pair((width, height): (&str, &str)) -> Option<(u32, u32)> {
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Adds the options with which both programs read the file: as the kind that it is, so that it can't be taken for a
/// list of other files, by no other protocol, and with bounded memory.
fn reading(command: &mut Command, container: Container, limits: &VideoLimits) {
    let format = match container {
        Container::Mp4 => "mov",
        Container::Matroska => "matroska",
        Container::Avi => "avi",
    };
    let most = limits.max_pixels.saturating_mul(PIXEL_BYTES) + SPARE_BYTES;
    command.args(["-v", "error", "-max_alloc", &most.to_string()]);
    command.args(["-protocol_whitelist", "file", "-threads", "1"]);
    command.args(["-max_pixels", &limits.max_pixels.to_string(), "-f", format, "-i", INPUT]);
}

enum FrameError {
    Read(io::Error),
    Refused(VideoError),
}

/// Reads a frame in the format PPM: `P6`, width, height and 255 on three lines, then the pixels. `None` at the end.
fn frame(output: &mut impl BufRead, limits: &VideoLimits) -> Result<Option<Image>, FrameError> {
    let mut line = || {
        let mut line = String::new();
        output.by_ref().take(LINE_BYTES).read_line(&mut line).map_err(FrameError::Read)?;
        Ok(line)
    };
    if line()?.trim_end() != "P6" {
        return Ok(None);
    }
    let size = line()?;
    line()?;
    let Some((width, height)) = size.trim_end().split_once(' ').and_then(pair) else {
        return Ok(None);
    };
    let checked = check_size(width, height, &limits.images());
    checked.map_err(|error| FrameError::Refused(error.into()))?;
    let mut rgb = vec![0; width as usize * height as usize * 3];
    match output.read_exact(&mut rgb) {
        Ok(()) => Ok(Some(Image { width, height, rgb })),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(FrameError::Read(error)),
    }
}

/// How a program ended.
struct Ended {
    succeeded: bool,
    is_too_slow: bool,
    message: String,
}

impl Ended {
    fn check(&self, container: Container, limits: &VideoLimits) -> Result<(), VideoError> {
        if self.is_too_slow {
            return Err(VideoError::TooSlow { limit: limits.max_time });
        }
        let is_cut = self.message.contains("prematurely") || self.message.contains("truncated");
        if self.succeeded && !is_cut {
            return Ok(());
        }
        // Messages begin with `[mov,mp4,… @ 0x55…]`, or with the name of the file.
        let line = self.message.lines().next().unwrap_or_default();
        let line = line.rsplit_once("] ").map_or(line, |(_, said)| said);
        let line = line.strip_prefix(INPUT).map_or(line, |said| said.trim_start_matches(": "));
        let said: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        let problem = if said.is_empty() { "the file is damaged".to_owned() } else { said };
        Err(VideoError::Damaged { kind: container.as_str(), problem })
    }
}

/// Runs a program with the bytes as its standard input, and passes its output to `read`. Kills it when `read` returns,
/// and when the time is over.
fn run(
    mut command: Command,
    bytes: &[u8],
    limit: Duration,
    read: impl FnOnce(&mut BufReader<Box<dyn Read>>) -> io::Result<()>,
) -> Result<Ended, VideoError> {
    let failed = |error: io::Error| VideoError::Failed { problem: error.to_string() };
    command.env_clear().current_dir("/");
    command.stdin(file_of(bytes).map_err(failed)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let output: Box<dyn Read> = match child.stdout.take() {
        Some(output) => Box::new(output),
        None => Box::new(io::empty()),
    };
    let messages = child.stderr.take();
    let child = Mutex::new(child);
    let (ended, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watched = &child;
        let watch = scope.spawn(move || {
            let is_too_slow = is_over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_too_slow {
                kill(watched);
            }
            is_too_slow
        });
        let message = scope.spawn(move || {
            let mut kept = Vec::new();
            if let Some(mut messages) = messages {
                let _ = messages.by_ref().take(MESSAGE_BYTES).read_to_end(&mut kept);
                let _ = io::copy(&mut messages, &mut io::sink()); // a full pipe would stop the program
            }
            String::from_utf8_lossy(&kept).into_owned()
        });
        let mut output = BufReader::new(output);
        let was_read = read(&mut output);
        // What was not read is not needed; without a reader the program ends.
        drop(output);
        let message = message.join().unwrap_or_default();
        drop(ended);
        let is_too_slow = watch.join().unwrap_or_default();
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait().map_err(failed)?;
        if !is_too_slow {
            was_read.map_err(failed)?;
        }
        Ok(Ended { succeeded: status.success(), is_too_slow, message })
    })
}

fn kill(child: &Mutex<Child>) {
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill(); // it may have ended
}

/// Writes bytes to a file without a name, which goes with the last process that has it open.
fn file_of(bytes: &[u8]) -> io::Result<Stdio> {
    let mut file: File = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
