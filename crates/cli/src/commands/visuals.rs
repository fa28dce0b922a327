//! The images and videos of `submit` and `skill run`: the flags, and their upload.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use serde_json::{Value, json};

use crate::client::Client;
use crate::output::Output;
use crate::text::{bytes, printable};

/// Size from which an upload has a progress bar, in bytes.
const LARGE: u64 = 1_000_000;
/// Time between two states of a progress bar.
const PAUSE: Duration = Duration::from_millis(200);
/// Width of a progress bar.
const WIDTH: u64 = 30;

/// What a part of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Video,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Image, Self::Video];

    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Image => {
                "Show the model an image: a file, which is uploaded, a URL, or a blob's id; may be repeated"
            }
            Self::Video => {
                "Show the model a video: a file, which is uploaded, a URL, or a blob's id; may be repeated"
            }
        }
    }
}

/// The flags `--image` and `--video`, in the order in which they were given.
#[derive(Debug, Default)]
pub(crate) struct Visuals(Vec<(Kind, String)>);

impl Args for Visuals {
    fn augment_args(command: Command) -> Command {
        Kind::ALL.into_iter().fold(command, |command, kind| {
            let arg = Arg::new(kind.name())
                .long(kind.name())
                .value_name("FILE|URL|BLOB")
                .help(kind.help())
                .action(ArgAction::Append);
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Visuals {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given = Vec::new();
        for kind in Kind::ALL {
            let indices = matches.indices_of(kind.name()).into_iter().flatten();
            let values = matches.get_many::<String>(kind.name()).into_iter().flatten();
            given.extend(indices.zip(values).map(|(index, value)| (index, kind, value.clone())));
        }
        given.sort_by_key(|(index, ..)| *index);
        Ok(Self(given.into_iter().map(|(_, kind, value)| (kind, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// An image or a video that the gateway can find.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    kind: Kind,
    /// A URL, or the id of a blob.
    place: String,
    /// Whether this command has uploaded it.
    is_new: bool,
}

impl Part {
    /// Returns the field of a request for a skill that has it.
    pub(crate) const fn field(&self) -> &'static str {
        match self.kind {
            Kind::Image => "images",
            Kind::Video => "videos",
        }
    }

    /// Returns its URL, or the id of its blob.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Formats a part of a message.
    pub(crate) fn json(&self) -> Value {
        let field = format!("{}_url", self.kind.name());
        json!({"type": field, field.as_str(): {"url": self.place}})
    }
}

impl Visuals {
    /// Uploads the files, and returns all parts in their order. Files are looked for before the first upload.
    ///
    /// # Errors
    /// If a file does not exist, or the gateway refuses it.
    pub(crate) fn resolve(&self, client: &Client, output: &mut Output) -> Result<Vec<Part>> {
        let mut found = Vec::with_capacity(self.0.len());
        for (kind, given) in &self.0 {
            found.push((*kind, Given::of(*kind, given)?));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(found.len());
        for (kind, given) in found {
            let place = match given {
                Given::Place(place) => Ok((place, false)),
                Given::File(path, file) => upload(client, path, &file, output).map(|id| (id, true)),
            };
            match place {
                Ok((place, is_new)) => parts.push(Part { kind, place, is_new }),
                Err(error) => {
                    delete(client, &parts);
                    return Err(error);
                }
            }
        }
        Ok(parts)
    }
}

/// Deletes what was uploaded for a task that was refused. What remains expires.
pub(crate) fn delete(client: &Client, parts: &[Part]) {
    for part in parts.iter().filter(|part| part.is_new) {
        let _ = client.delete_blob(&part.place);
    }
}

/// The value of a flag.
enum Given<'a> {
    File(&'a str, File),
    Place(String),
}

impl<'a> Given<'a> {
    fn of(kind: Kind, text: &'a str) -> Result<Self> {
        let is_url = ["http://", "https://", "data:"].iter().any(|start| text.starts_with(start));
        let path = Path::new(text);
        if is_url || is_id(text) && !path.exists() {
            return Ok(Self::Place(text.to_owned()));
        }
        let (flag, name) = (kind.name(), printable(text));
        let file = File::open(path).with_context(|| {
            format!("--{flag}: {name} is no file that can be read, no URL and no blob's id")
        })?;
        if path.is_dir() {
            bail!("--{flag}: {name} is a folder");
        }
        Ok(Self::File(text, file))
    }
}

/// Returns whether a text is the id of a blob: its UUID, or that of the same file of `/v1/files`.
fn is_id(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    match text.strip_prefix("file-") {
        Some(rest) => rest.len() == 32 && hex(rest),
        None => text.len() == 36 && hex(text),
    }
}

/// Stores a file, with a progress bar if it is large and standard error is a terminal.
fn upload(client: &Client, path: &str, file: &File, output: &mut Output) -> Result<String> {
    let name = printable(path);
    let length = file.metadata().with_context(|| format!("{name} can't be read"))?.len();
    if length == 0 {
        bail!("{name} is empty");
    }
    let is_shown = length >= LARGE && io::stderr().is_terminal();
    let mut reader = Progress {
        file,
        name: &name,
        length,
        done: 0,
        told: None,
        output: is_shown.then_some(&mut *output),
    };
    let stored = client.upload(&mut reader, length);
    if is_shown {
        output.aside("\r\x1b[K");
    }
    stored.with_context(|| format!("{name} can't be uploaded"))
}

/// A file that is read, and tells how far.
struct Progress<'a> {
    file: &'a File,
    name: &'a str,
    length: u64,
    done: u64,
    told: Option<Instant>,
    output: Option<&'a mut Output>,
}

impl Read for Progress<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        if let Some(output) = &mut self.output
            && self.told.is_none_or(|told| told.elapsed() >= PAUSE)
        {
            output.aside(&format!("\r{} {}\x1b[K", bar(self.done, self.length), self.name));
            self.told = Some(Instant::now());
        }
        Ok(read)
    }
}

/// Draws a progress bar: `[###   ] 1.5 MB of 3.0 MB`.
fn bar(done: u64, length: u64) -> String {
    let full = done.min(length).saturating_mul(WIDTH).checked_div(length).unwrap_or(WIDTH);
    let (full, empty) = ("#".repeat(full as usize), " ".repeat((WIDTH - full) as usize));
    format!("[{full}{empty}] {} of {}", bytes(done), bytes(length))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::fake::{plain, server};

    #[derive(Parser)]
    struct Flags {
        #[arg(long, conflicts_with_all = ["image", "video"])]
        messages: Option<String>,
        #[arg(long, conflicts_with_all = ["image", "video"])]
        raw: bool,
        #[command(flatten)]
        visuals: Visuals,
    }

    const BLOB: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

    fn visuals(args: &[&str]) -> Visuals {
        Flags::parse_from(["submit"].iter().chain(args)).visuals
    }

    #[test]
    fn files_are_uploaded_and_parts_keep_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cat.png");
        std::fs::write(&file, "picture").unwrap();
        let stored = plain("201 Created", &json!({"id": BLOB}).to_string());
        let (url, asked) = server(vec![stored]);
        let url_of_clip = "https://example.org/clip.mp4";
        let given =
            visuals(&["--video", url_of_clip, "--image", file.to_str().unwrap(), "--image", BLOB]);
        let parts = given.resolve(&Client::of(&url), &mut Output::standard()).unwrap();
        let parts: Vec<Value> = parts.iter().map(Part::json).collect();
        let expected = json!([
            {"type": "video_url", "video_url": {"url": url_of_clip}},
            {"type": "image_url", "image_url": {"url": BLOB}},
            {"type": "image_url", "image_url": {"url": BLOB}},
        ]);
        assert_eq!(json!(parts), expected);
        let asked = asked.join().unwrap();
        assert!(asked[0].head.starts_with("post /blobs "), "{asked:?}");
        assert_eq!(asked[0].body, "picture");
    }

    #[test]
    fn a_missing_file_is_reported_before_any_upload() {
        let client = Client::of("http://127.0.0.1:1");
        let given = visuals(&["--image", "Cargo.toml", "--image", "no/such.png"]);
        let error = given.resolve(&client, &mut Output::standard()).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.contains("--image: no/such.png is no file"), "{told}");
    }

    #[test]
    fn conversations_have_their_images_in_themselves() {
        for other in [["--messages", "x"].as_slice(), &["--raw"]] {
            let args = ["submit", "--image", "a"].iter().chain(other);
            assert!(Flags::try_parse_from(args).is_err(), "{other:?}");
        }
    }

    #[test]
    fn bars_grow() {
        assert_eq!(bar(0, 3_000_000), format!("[{}] 0 B of 3.0 MB", " ".repeat(30)));
        assert_eq!(
            bar(1_500_000, 3_000_000),
            format!("[{}{}] 1.5 MB of 3.0 MB", "#".repeat(15), " ".repeat(15))
        );
        assert_eq!(bar(9, 3), format!("[{}] 9 B of 3 B", "#".repeat(30)));
    }
}
