//! The devices on which an engine computes.

use std::fmt;
use std::str::FromStr;

use crate::LoadError;

/// The allowed values, for messages.
const ALLOWED: &str = "auto, cpu, cuda:N, or several that share the layers: cuda:0,1 or cuda:0,cpu, each once, the CPU last";

/// The devices on which an engine computes. Written `auto`, `cpu`, `cuda:N`, or `cuda:0,1` or `cuda:0,cpu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best device that this build can use: one GPU, or the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
    /// Several devices, each of which computes some of the layers.
    Several(Devices),
}

/// Devices that share a model's layers: GPUs in the order in which they compute, then the CPU if it takes
/// the layers that do not fit. At least two, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    gpus: Vec<usize>,
    cpu: bool,
}

/// An opened device on which an engine, or a part of it, computes.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The CPU.
    Cpu,
    /// A GPU and its number.
    #[cfg(feature = "cuda")]
    Cuda(usize, candle_core::Device),
}

impl Place {
    /// Starts monitoring a GPU, if the driver supports it.
    #[cfg(feature = "cuda")]
    pub(super) fn watch(&self) -> Option<crate::cuda::Watch> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_, device) => crate::cuda::Watch::new(device),
        }
    }

    #[cfg(feature = "cuda")]
    fn gpu(number: usize) -> Result<Self, LoadError> {
        Ok(Self::Cuda(number, crate::cuda::open(number)?))
    }
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
    /// Creates a list of these GPUs in this order, followed by the CPU if `cpu` is set.
    ///
    /// # Errors
    /// Returns an error if a GPU is named twice, or nothing is named.
    pub fn of(gpus: Vec<usize>, cpu: bool) -> Result<Self, LoadError> {
        let twice = gpus.iter().enumerate().find(|(place, gpu)| gpus[..*place].contains(gpu));
        if let Some((_, gpu)) = twice {
            return Err(LoadError::InvalidOption(format!(
                "the device cuda:{gpu} is named twice; set the device to {ALLOWED}"
            )));
        }
        match (gpus.as_slice(), cpu) {
            ([], false) => Err(refused("", "names nothing")),
            ([], true) => Ok(Self::Cpu),
            ([gpu], false) => Ok(Self::Cuda(*gpu)),
            _ => Ok(Self::Several(Devices { gpus, cpu })),
        }
    }

    /// Returns the number of named devices.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Auto | Self::Cpu | Self::Cuda(_) => 1,
            Self::Several(Devices { gpus, cpu }) => gpus.len() + usize::from(*cpu),
        }
    }

    /// Opens the devices, at least one. `auto` takes the first GPU if the build supports GPUs and one exists.
    #[cfg(feature = "cuda")]
    pub(super) fn open(&self) -> Result<Vec<Place>, LoadError> {
        Ok(match self {
            Self::Cpu => vec![Place::Cpu],
            Self::Cuda(number) => vec![Place::gpu(*number)?],
            Self::Several(Devices { gpus, cpu }) => {
                let gpus = gpus.iter().map(|number| Place::gpu(*number));
                gpus.chain(cpu.then_some(Ok(Place::Cpu))).collect::<Result<_, _>>()?
            }
            Self::Auto => vec![Place::gpu(0).unwrap_or_else(|reason| {
                tracing::warn!("computing on the CPU: {reason}");
                Place::Cpu
            })],
        })
    }

    /// Opens the devices, at least one.
    #[cfg(not(feature = "cuda"))]
    pub(super) fn open(&self) -> Result<Vec<Place>, LoadError> {
        match self {
            Self::Auto | Self::Cpu => Ok(vec![Place::Cpu]),
            Self::Cuda(_) | Self::Several(_) => Err(LoadError::Device(format!(
                "the device {self} cannot be used: this build has no CUDA and computes on the CPU only. The CUDA \
                 build does (scripts/cuda-build makes it, docs/ENGINE.md tells how); or set the device to auto or cpu"
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
            Self::Several(Devices { gpus, cpu }) => {
                let gpus = gpus.iter().map(|number| format!("cuda:{number}"));
                let names: Vec<String> = gpus.chain(cpu.then(|| "cpu".to_owned())).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (mut gpus, mut cpu) = (Vec::new(), false);
        for name in text.split(',').map(str::trim) {
            let number = match name {
                "cpu" if cpu => return Err(refused(text, "names the CPU twice")),
                "cpu" => {
                    cpu = true;
                    continue;
                }
                "cuda" => Some(0),
                _ => match name.strip_prefix("cuda:") {
                    Some(number) => number.parse().ok(),
                    // `cuda:0,1`
                    None if !gpus.is_empty() => name.parse().ok(),
                    None => None,
                },
            };
            match number {
                Some(_) if cpu => return Err(refused(text, "names a GPU behind the CPU")),
                Some(number) => gpus.push(number),
                None => return Err(refused(text, "names no device that there is")),
            }
        }
        Self::of(gpus, cpu)
    }
}

fn refused(text: &str, problem: &str) -> LoadError {
    LoadError::InvalidOption(format!("the device {text:?} {problem}; set it to {ALLOWED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_parsed_and_displayed() {
        for text in ["auto", "cpu", "cuda:0", "cuda:13", "cuda:0,cpu", "cuda:2,cuda:0,cpu"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for (text, written) in [
            ("cuda", "cuda:0"),
            ("cuda:0,1", "cuda:0,cuda:1"),
            ("cuda:3, 1 ,cpu", "cuda:3,cuda:1,cpu"),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), written);
        }
        for (text, problem) in [
            ("", "names no device that there is"),
            ("gpu", "names no device that there is"),
            ("cuda:", "names no device that there is"),
            ("cuda:x", "names no device that there is"),
            ("CPU", "names no device that there is"),
            ("0,1", "names no device that there is"),
            ("cuda:0,", "names no device that there is"),
            ("cuda:0,auto", "names no device that there is"),
            ("cpu,cpu", "names the CPU twice"),
            ("cuda:0,cpu,cpu", "names the CPU twice"),
            ("cpu,cuda:0", "names a GPU behind the CPU"),
            ("cuda:0,1,cuda:0", "cuda:0 is named twice"),
            ("cuda,0", "cuda:0 is named twice"),
        ] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(ALLOWED), "{text}: {error}");
        }
        assert!(DeviceChoice::of(vec![], false).is_err());
    }

    #[test]
    fn missing_device_errors_name_the_device_and_the_remedy() {
        for text in ["cuda:97", "cuda:97,98", "cuda:97,cpu"] {
            let choice: DeviceChoice = text.parse().unwrap();
            let error = choice.open().unwrap_err().to_string();
            assert!(error.contains("cuda:97"), "{error}");
            let expected = if cfg!(feature = "cuda") { "the driver" } else { "scripts/cuda-build" };
            assert!(error.contains(expected), "{error}");
            assert_eq!(choice.available_memory(), None);
        }
        assert!(matches!(DeviceChoice::Cpu.open().unwrap()[..], [Place::Cpu]));
    }
}
