//! The types of the settings' values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use protocol::ModelId;

/// Secret text, which `Debug` and `Display` do not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The device that computes the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// CUDA if the build and the machine support it, else the CPU.
    Auto,
    /// One device, or several among which the model's layers are divided.
    Named {
        /// CUDA device numbers, in order and without duplicates.
        gpus: Vec<usize>,
        /// Uses the CPU, after the GPUs if there are any.
        cpu: bool,
    },
}

impl FromStr for Device {
    type Err = ();

    /// Parses `auto`, `cpu`, `cuda:N`, `cuda:0,1`, `cuda:0,cuda:1` or `cuda:0,cpu`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_ascii_lowercase();
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (mut gpus, mut cpu) = (Vec::new(), false);
        for name in text.split(',').map(str::trim) {
            match name {
                _ if cpu => return Err(()), // the CPU comes last
                "cpu" => cpu = true,
                _ => {
                    let number = match name.strip_prefix("cuda") {
                        Some("") => "0",
                        Some(rest) => rest.strip_prefix(':').ok_or(())?,
                        None if gpus.is_empty() => return Err(()),
                        None => name,
                    };
                    let gpu = number.parse().map_err(drop)?;
                    if gpus.contains(&gpu) {
                        return Err(());
                    }
                    gpus.push(gpu);
                }
            }
        }
        Ok(Self::Named { gpus, cpu })
    }
}

/// Where the bytes of blobs are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobLocation {
    /// In the queue's own store: in Redis, or in a folder in `DATA_DIR`.
    Own,
    /// In a folder, which all processes see at the same path.
    Folder(PathBuf),
    /// In an object store: a bucket's URL without credentials.
    ObjectStore(String),
}

impl FromStr for BlobLocation {
    type Err = String;

    /// Parses `file:///folder` and `s3://bucket/prefix`; the latter only if the build can use it.
    fn from_str(url: &str) -> Result<Self, String> {
        let allowed = "allowed are file:///folder, s3://bucket/prefix, gs://bucket/prefix and \
                       az://container/prefix";
        let (scheme, rest) = url.split_once("://").ok_or(format!("it has no scheme; {allowed}"))?;
        match scheme {
            "file" if rest.starts_with('/') && rest.len() > 1 => Ok(Self::Folder(rest.into())),
            "file" => Err("the path must be absolute: file:///folder".to_owned()),
            "s3" | "gs" | "az" if rest.contains(['@', '?', '#']) => {
                Err("credentials are read from the environment, not from the URL".to_owned())
            }
            "s3" | "gs" | "az" if rest.is_empty() || rest.starts_with('/') => {
                Err(format!("it names no bucket; {allowed}"))
            }
            "s3" | "gs" | "az" if !queue::HAS_OBJECT_STORE => {
                Err("this build can't use object stores: build it with --features object-store"
                    .to_owned())
            }
            "s3" | "gs" | "az" => Ok(Self::ObjectStore(url.to_owned())),
            other => Err(format!("the scheme {} is not known; {allowed}", other.escape_debug())),
        }
    }
}

/// The number of sequences that a worker runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// Determined from the device and its memory.
    Auto,
    /// This number.
    Sequences(usize),
}

impl FromStr for BatchSize {
    type Err = ();

    /// Parses `auto`, or a number from 1 to 256.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let count = text.parse().ok().filter(|count| (1..=256).contains(count));
        count.map(Self::Sequences).ok_or(())
    }
}

/// Which tokens a worker drafts, so that a step verifies several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speculation {
    /// None.
    Off,
    /// Those that followed the same tokens before.
    Lookup,
}

impl FromStr for Speculation {
    type Err = ();

    /// Parses `off` or `lookup`.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "lookup" => Ok(Self::Lookup),
            _ => Err(()),
        }
    }
}

/// Whether a feature is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = ();

    /// Parses `on` or `off`.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

/// Whether the gateway downloads the images that requests name by URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDownload {
    /// No: requests with a URL are refused.
    Off,
    /// From public addresses.
    Public,
    /// From private and loopback addresses too.
    Private,
}

impl FromStr for ImageDownload {
    type Err = ();

    /// Parses `off`, `public` or `private`.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "public" => Ok(Self::Public),
            "private" => Ok(Self::Private),
            _ => Err(()),
        }
    }
}

/// The format of a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Not quantized.
    None,
    /// Q8_0.
    EightBit,
    /// Q4_K; as a GGUF file, Q4_K_M.
    FourBit,
}

impl FromStr for Quantization {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "8bit" => Ok(Self::EightBit),
            "4bit" => Ok(Self::FourBit),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::EightBit => "8bit",
            Self::FourBit => "4bit",
        })
    }
}

/// A LoRA adapter and the model name under which it is served. Written as `name=source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraAdapter {
    /// The model name for requests.
    pub name: ModelId,
    /// A folder, or a hub repository.
    pub source: String,
}

impl FromStr for LoraAdapter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, source) = text.split_once('=').ok_or(())?;
        let (name, source) = (name.trim(), source.trim());
        let fits = (1..=MAX_ADAPTER_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
            && !source.is_empty();
        fits.then(|| Self { name: ModelId::new(name), source: source.to_owned() }).ok_or(())
    }
}

/// Maximum length of an adapter's name, in bytes.
const MAX_ADAPTER_NAME_BYTES: usize = 128;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// The address that a server listens on. Written as an IP address, with or without brackets, or as
/// `localhost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListenAddress(pub(super) IpAddr);

impl FromStr for ListenAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Self(Ipv4Addr::LOCALHOST.into()));
        }
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or(text).parse().map(Self).map_err(drop)
    }
}

/// How bearer tokens are verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtSettings {
    /// `JWT_SECRET`: the shared secret.
    pub secret: Option<Secret>,
    /// `JWT_JWKS_FILE`: the content of the file of public keys.
    pub jwks: Option<String>,
    /// `JWT_AUDIENCE`.
    pub audience: Option<String>,
    /// `JWT_ISSUER`.
    pub issuer: Option<String>,
    /// `JWT_LEEWAY`: the tolerated difference of clocks.
    pub leeway: Duration,
}

impl JwtSettings {
    /// Returns whether any token can be accepted.
    pub fn is_on(&self) -> bool {
        self.secret.is_some() || self.jwks.is_some()
    }
}

/// The store of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueLocation {
    /// A Redis server that several processes share.
    Redis(Secret),
    /// SQLite in this folder, for a single process.
    Embedded(PathBuf),
}

/// Returns `true` if `model_name` already determines the quantization: it names one file, or has
/// the form `owner/name:quant`.
pub(super) fn names_its_quantization(model_name: &str) -> bool {
    let is_path = model_name.starts_with(['/', '.', '~']);
    let is_file = model_name.to_ascii_lowercase().ends_with(".gguf");
    let is_demo = model_name.eq_ignore_ascii_case("demo");
    // The colon in the URL of a page does not separate a quantization.
    let id = ModelId::from_source(model_name);
    is_demo || is_file || !is_path && id.as_str().contains(':')
}

/// Generates a random API key with 122 random bits, for one run.
pub fn fresh_key() -> String {
    format!("qq-{}", uuid::Uuid::new_v4().simple())
}
