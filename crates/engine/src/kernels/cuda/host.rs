//! Runs launches in tests: on the CPU by the shim, and on a GPU where there is one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Launch;

/// All that the runner is made of.
const SOURCES: [&str; 8] = [
    "attention.cu",
    "experts.cu",
    "kernels.cu",
    "pages.cu",
    "platform.cuh",
    "rows.cu",
    "host/runner.cpp",
    "host/shim.h",
];

/// What a kernel is called with: pointers first, whole numbers, then broken ones. An empty buffer is a null
/// pointer.
#[derive(Debug, Clone, Default)]
pub(super) struct Arguments {
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) numbers: Vec<i32>,
    pub(super) fractions: Vec<f32>,
}

/// Where launches run in a test.
#[derive(Debug, Clone)]
pub(super) enum Machine {
    /// By the shim, a block's threads in order or backwards.
    Host { runner: &'static Path, backwards: bool },
    /// On the first GPU.
    #[cfg(feature = "cuda")]
    Gpu(std::sync::Arc<super::Kernels>),
}

impl Machine {
    /// All there are; what is not there says why.
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

    /// Runs a kernel; what became of its buffers.
    pub(super) fn run(
        &self,
        launch: &Launch,
        arguments: &Arguments,
    ) -> Result<Vec<Vec<u8>>, String> {
        match self {
            Self::Host { runner, backwards } => run_on_host(runner, *backwards, launch, arguments),
            #[cfg(feature = "cuda")]
            Self::Gpu(kernels) => kernels.run_raw(
                launch,
                &arguments.buffers,
                &arguments.numbers,
                &arguments.fractions,
            ),
        }
    }
}

/// Compiles the kernels, unless a test did so before with these sources. The reason if there is no
/// compiler; if there is one, the sources must compile.
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
    // Under a name of its own first: other tests may do the same at this moment.
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
    arguments: &Arguments,
) -> Result<Vec<Vec<u8>>, String> {
    let mut call = Vec::new();
    let count = |call: &mut Vec<u8>, n: usize| call.extend((n as u32).to_le_bytes());
    count(&mut call, launch.name.len());
    call.extend(launch.name.as_bytes());
    for n in [launch.grid.0, launch.grid.1, launch.threads, launch.shared_bytes, backwards.into()] {
        count(&mut call, n as usize);
    }
    count(&mut call, arguments.buffers.len());
    for buffer in &arguments.buffers {
        call.extend((buffer.len() as u64).to_le_bytes());
        call.extend(buffer);
    }
    count(&mut call, arguments.numbers.len());
    call.extend(arguments.numbers.iter().flat_map(|n| n.to_le_bytes()));
    count(&mut call, arguments.fractions.len());
    call.extend(arguments.fractions.iter().flat_map(|x| x.to_le_bytes()));

    let mut process = Command::new(runner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads everything before it writes anything; if it ends early, its status says so.
    let _ = process.stdin.take().unwrap().write_all(&call);
    let mut results = Vec::new();
    process.stdout.take().unwrap().read_to_end(&mut results).unwrap();
    let output = process.wait_with_output().unwrap();
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{}: {problem} ({})", launch.name, output.status));
    }
    let mut rest = &results[..];
    Ok(arguments
        .buffers
        .iter()
        .map(|buffer| {
            let (own, behind) = rest.split_at(buffer.len());
            rest = behind;
            own.to_vec()
        })
        .collect())
}
