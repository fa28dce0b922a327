//! Running launches in tests: on the CPU with the shim, and on a GPU if there is one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::arguments::{Argument, Pointer};
use super::launch::Launch;

/// The runner's source files.
const SOURCES: [&str; 10] = [
    "attention.cu",
    "experts.cu",
    "kernels.cu",
    "likeliest.cu",
    "low_rank.cu",
    "pages.cu",
    "platform.cuh",
    "rows.cu",
    "host/runner.cpp",
    "host/shim.h",
];

/// The buffers of a test, as bytes. A pointer is a buffer's index, from 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Vec<Vec<u8>>);

impl Memory {
    /// Adds a buffer with these bytes.
    pub(super) fn bytes<T>(&mut self, bytes: Vec<u8>) -> Pointer<'static, T> {
        self.0.push(bytes);
        Pointer::new(self.0.len() as u64)
    }

    /// Adds a buffer with these numbers.
    pub(super) fn floats(&mut self, numbers: &[f32]) -> Pointer<'static, f32> {
        self.bytes(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds a buffer with these numbers.
    pub(super) fn words(
        &mut self,
        numbers: impl IntoIterator<Item = u32>,
    ) -> Pointer<'static, u32> {
        self.bytes(numbers.into_iter().flat_map(u32::to_le_bytes).collect())
    }

    /// Adds a buffer for `len` numbers of 32 bits; read as f32 they are NaN until they are written.
    pub(super) fn blank<T>(&mut self, len: usize) -> Pointer<'static, T> {
        self.bytes(vec![0xff; 4 * len])
    }

    /// Returns a buffer's content.
    pub(super) fn bytes_at<T>(&self, pointer: Pointer<'_, T>) -> &[u8] {
        &self.0[pointer.address() as usize - 1]
    }

    /// Returns a buffer's content as f32.
    pub(super) fn floats_at(&self, pointer: Pointer<'_, f32>) -> Vec<f32> {
        let words = self.bytes_at(pointer).chunks_exact(4);
        words.map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    }

    /// Returns a buffer's content as u32.
    pub(super) fn words_at(&self, pointer: Pointer<'_, u32>) -> Vec<u32> {
        let words = self.bytes_at(pointer).chunks_exact(4);
        words.map(|x| u32::from_le_bytes(x.try_into().unwrap())).collect()
    }
}

/// A machine that runs launches in tests.
#[derive(Debug, Clone)]
pub(super) enum Machine {
    /// The CPU, with the shim; runs a block's threads in order or backwards.
    Host { runner: &'static Path, backwards: bool },
    /// The first GPU.
    #[cfg(feature = "cuda")]
    Gpu(std::sync::Arc<super::Kernels>),
}

impl Machine {
    /// Returns all machines that are available, and prints why others are not.
    pub(super) fn all() -> Vec<Self> {
        static RUNNER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let mut machines = Vec::new();
        match RUNNER.get_or_init(compile) {
            Ok(runner) => {
                machines.extend([false, true].map(|backwards| Self::Host { runner, backwards }))
            }
            Err(reason) => println!("skipped on the CPU: {reason}"),
        }
        #[cfg(feature = "cuda")]
        match super::Kernels::on_first_device() {
            Ok(kernels) => machines.push(Self::Gpu(std::sync::Arc::new(kernels))),
            Err(reason) => println!("skipped on a GPU: {reason}"),
        }
        #[cfg(not(feature = "cuda"))]
        println!("skipped on a GPU: this build has no CUDA (feature cuda)");
        machines
    }

    /// Runs a kernel on buffers. Returns the reason if it fails.
    pub(super) fn run(&self, launch: &Launch, memory: &mut Memory) -> Result<(), String> {
        let buffers = match self {
            Self::Host { runner, backwards } => run_on_host(runner, *backwards, launch, &memory.0),
            #[cfg(feature = "cuda")]
            Self::Gpu(kernels) => kernels.run_on_copies(launch, &memory.0),
        };
        memory.0 = buffers?;
        Ok(())
    }
}

/// Compiles the kernels with the host's C++ compiler, unless a test has done so with the same
/// sources. Returns the reason if there is no compiler. Panics if the sources do not compile.
fn compile() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels/cuda");
    let mut hash = DefaultHasher::new();
    for source in SOURCES {
        std::fs::read(folder.join(source)).unwrap().hash(&mut hash);
    }
    let binaries = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let runner = binaries.join(format!("cuda-kernels-on-cpu-{:016x}", hash.finish()));
    if runner.exists() {
        return Ok(runner);
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // Compiles to a name of its own and renames: another test process may do the same concurrently.
    let unfinished = runner.with_extension(std::process::id().to_string());
    let output = Command::new(&compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-U_FORTIFY_SOURCE",
            "-Wall",
            "-Wno-unknown-pragmas",
            "-Werror",
            "-o",
        ])
        .arg(&unfinished)
        .arg(folder.join("host/runner.cpp"))
        .output()
        .map_err(|error| format!("no C++ compiler {compiler:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the kernels do not compile:\n{messages}");
    std::fs::rename(unfinished, &runner).unwrap();
    Ok(runner)
}

fn run_on_host(
    runner: &Path,
    backwards: bool,
    launch: &Launch,
    buffers: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, String> {
    let mut call = Vec::new();
    let count = |call: &mut Vec<u8>, n: usize| call.extend((n as u32).to_le_bytes());
    count(&mut call, launch.name.len());
    call.extend(launch.name.as_bytes());
    for n in [launch.grid.0, launch.grid.1, launch.threads, launch.shared_bytes, backwards.into()] {
        count(&mut call, n as usize);
    }
    count(&mut call, buffers.len());
    for buffer in buffers {
        call.extend((buffer.len() as u64).to_le_bytes());
        call.extend(buffer);
    }
    count(&mut call, launch.arguments.len());
    for argument in &launch.arguments {
        let (kind, bits) = match argument {
            Argument::Pointer(buffer) => (b'p', *buffer),
            Argument::Int(number) => (b'i', u64::from(number.cast_unsigned())),
            Argument::Float(number) => (b'f', u64::from(number.to_bits())),
        };
        call.push(kind);
        call.extend(bits.to_le_bytes());
    }

    let mut process = Command::new(runner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The runner reads everything before it writes. If it exits early, its status is checked below.
    let _ = process.stdin.take().unwrap().write_all(&call);
    let mut results = Vec::new();
    process.stdout.take().unwrap().read_to_end(&mut results).unwrap();
    let output = process.wait_with_output().unwrap();
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{}: {problem} ({})", launch.name, output.status));
    }
    let mut rest = &results[..];
    let own = |buffer: &Vec<u8>| {
        let (own, behind) = rest.split_at(buffer.len());
        rest = behind;
        own.to_vec()
    };
    Ok(buffers.iter().map(own).collect())
}
