//! The kinds of value that settings have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use protocol::ModelId;

/// Text that must not be seen: its `Debug` and `Display` show nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the model computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// CUDA if this build and machine have it, else CPU.
    Auto,
    /// One device, or several that share the model's layers.
    Named {
        /// CUDA devices by their numbers, in their order; none twice.
        gpus: Vec<usize>,
        /// The processor, behind them or alone.
        cpu: bool,
    },
}

impl FromStr for Device {
    type Err = ();

    /// `auto`, `cpu`, `cuda:N`, `cuda:0,1`, `cuda:0,cuda:1` or `cuda:0,cpu`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_ascii_lowercase();
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (mut gpus, mut cpu) = (Vec::new(), false);
        for name in text.split(',').map(str::trim) {
            match name {
                _ if cpu => return Err(()), // nothing stands behind the processor
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

/// How many sequences a worker runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// As many as suit the device and its memory.
    Auto,
    /// So many.
    Sequences(usize),
}

impl FromStr for BatchSize {
    type Err = ();

    /// `auto`, or a number from 1 to 256.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let count = text.parse().ok().filter(|count| (1..=256).contains(count));
        count.map(Self::Sequences).ok_or(())
    }
}

/// How finely weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Not quantized.
    None,
    /// Q8_0.
    EightBit,
    /// Q4_K, or a GGUF file of the kind Q4_K_M.
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

/// A LoRA adapter, and the model's name under which it is served. Written `name=source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraAdapter {
    /// What requests call it.
    pub name: ModelId,
    /// A folder, or a repository on the hub.
    pub source: String,
}

impl FromStr for LoraAdapter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, source) = text.split_once('=').ok_or(())?;
        let (name, source) = (name.trim(), source.trim());
        let fits = (1..=MOST_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
            && !source.is_empty();
        fits.then(|| Self { name: ModelId::new(name), source: source.to_owned() }).ok_or(())
    }
}

/// How long an adapter's name may be, in bytes.
const MOST_NAME: usize = 128;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
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

/// The address that a server listens on. Written as an IP address, in brackets or not, or `localhost`.
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

/// Where tasks wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueLocation {
    /// A Redis server that several processes share.
    Redis(Secret),
    /// SQLite in this folder, for one process.
    Embedded(PathBuf),
}

/// Whether `model_name` is one file, or `owner/name:quant`: neither a repository to choose from nor a folder
/// of safetensors.
pub(super) fn says_its_quantization(model_name: &str) -> bool {
    let is_path = model_name.starts_with(['/', '.', '~']);
    let is_file = model_name.to_ascii_lowercase().ends_with(".gguf");
    let is_demo = model_name.eq_ignore_ascii_case("demo");
    // The address of a page has a colon that says nothing of the kind.
    let id = ModelId::from_source(model_name);
    is_demo || is_file || !is_path && id.as_str().contains(':')
}

/// An API key for one run, of 122 random bits.
pub fn fresh_key() -> String {
    format!("qq-{}", uuid::Uuid::new_v4().simple())
}
