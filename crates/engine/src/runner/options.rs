//! How an engine is set up.

use std::fmt;
use std::str::FromStr;

use crate::LoadError;
use crate::lora::{self, AdapterSource};

/// How an engine is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where it computes.
    pub device: DeviceChoice,
    /// Sequences that run at once; at least 1.
    pub max_batch: usize,
    /// Tokens of one sequence, prompt and answer together; the model's own limit if `None` or
    /// larger.
    pub context_limit: Option<usize>,
    /// Tokens of all sequences together. If `None`: `max_batch` full contexts, or what fits into a
    /// third of the memory that is free at start.
    pub kv_tokens: Option<usize>,
    /// Tokens computed in one step: more makes prompts faster, less makes running answers smoother.
    pub step_tokens: usize,
    /// Adapters that are loaded beside the model, for requests that name them.
    pub adapters: Vec<AdapterSource>,
    /// Lets candle lay out the weights that it multiplies at start, not in the first request.
    pub warm_up: bool,
    /// Steps after which the device seems lost: to rehearse what happens then. `None`: never.
    pub lose_device_after: Option<u64>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            max_batch: 8,
            context_limit: None,
            kv_tokens: None,
            step_tokens: 512,
            adapters: Vec::new(),
            warm_up: true,
            lose_device_after: None,
        }
    }
}

impl EngineOptions {
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let limits = [
            ("max_batch", Some(self.max_batch), 1, 1024),
            ("step_tokens", Some(self.step_tokens), 1, 1 << 16),
            ("context_limit", self.context_limit, 2, usize::MAX),
            ("kv_tokens", self.kv_tokens, 2, 1 << 40),
        ];
        for (name, value, least, most) in limits {
            if let Some(value) = value
                && !(least..=most).contains(&value)
            {
                let range = if most == usize::MAX {
                    format!("at least {least}")
                } else {
                    format!("from {least} to {most}")
                };
                return Err(LoadError::InvalidOption(format!("{name} is {value}; set it {range}")));
            }
        }
        lora::check(self)
    }
}

/// Where an engine computes. Written `auto`, `cpu` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best this build can use.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

/// Where an engine computes, once it was looked for.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The processor.
    Cpu,
    /// A GPU and its number.
    #[cfg(feature = "cuda")]
    Cuda(usize, candle_core::Device),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(number, _) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device. `auto` takes the first GPU where the build can use one and one is there.
    #[cfg(feature = "cuda")]
    pub(super) fn open(self) -> Result<Place, LoadError> {
        match self {
            Self::Cpu => Ok(Place::Cpu),
            Self::Cuda(number) => Ok(Place::Cuda(number, crate::cuda::open(number)?)),
            Self::Auto => Ok(match crate::cuda::open(0) {
                Ok(device) => Place::Cuda(0, device),
                Err(reason) => {
                    tracing::warn!("computing on the CPU: {reason}");
                    Place::Cpu
                }
            }),
        }
    }

    /// Bytes of memory that models may take there, if that is known: the machine's, or what is free on the GPU
    /// beyond what kernels need.
    pub fn available_memory(self) -> Option<usize> {
        match self.open() {
            Ok(Place::Cpu) => crate::system::available_memory(),
            #[cfg(feature = "cuda")]
            Ok(Place::Cuda(_, device)) => {
                super::memory::Held::on_device(crate::cuda::free_memory(&device)).available
            }
            Err(_) => None,
        }
    }

    /// Opens the device.
    #[cfg(not(feature = "cuda"))]
    pub(super) fn open(self) -> Result<Place, LoadError> {
        match self {
            Self::Auto | Self::Cpu => Ok(Place::Cpu),
            Self::Cuda(_) => Err(LoadError::Device(format!(
                "the device {self} cannot be used: this build computes on the CPU only. The CUDA build does \
                 (scripts/cuda-build makes it, docs/ENGINE.md tells how); or set the device to auto or cpu"
            ))),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Cuda(number)),
                _ => Err(LoadError::InvalidOption(format!(
                    "the device is {text:?}; set it to auto, cpu or cuda:N"
                ))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:13"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("auto, cpu or cuda:N"), "{error}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_says_what_is_needed() {
        let error = DeviceChoice::Cuda(97).open().unwrap_err().to_string();
        assert!(error.contains("cuda:97"), "{error}");
        let expected = if cfg!(feature = "cuda") { "the driver" } else { "scripts/cuda-build" };
        assert!(error.contains(expected), "{error}");
        assert!(matches!(DeviceChoice::Cpu.open().unwrap(), Place::Cpu));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let options = EngineOptions { max_batch: 0, ..EngineOptions::default() };
        let error = options.check().unwrap_err().to_string();
        assert_eq!(error, "max_batch is 0; set it from 1 to 1024");
        let options = EngineOptions { context_limit: Some(1), ..EngineOptions::default() };
        assert!(options.check().unwrap_err().to_string().contains("at least 2"));
    }
}
