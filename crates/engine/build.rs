//! With the feature `cuda`: compiles the kernels to PTX, which the driver turns into the GPU's code.
//!
//! The PTX is for the compute capability `CUDA_COMPUTE_CAP` and all later ones. candle's kernels are
//! compiled for the same.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let sources = "src/kernels/cuda";
    println!("cargo::rerun-if-changed={sources}");
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    println!("cargo::rerun-if-env-changed=NVCC");
    let capability = std::env::var("CUDA_COMPUTE_CAP")
        .expect("the feature cuda needs CUDA_COMPUTE_CAP, e.g. 90: run scripts/cuda-toolkit --env");
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".to_owned());
    let ptx =
        PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.ptx");
    let status = Command::new(&nvcc)
        .args(["-ptx", "-std=c++17", "-O3", &format!("-arch=compute_{capability}"), "-o"])
        .arg(&ptx)
        .arg(format!("{sources}/kernels.cu"))
        .status()
        .unwrap_or_else(|error| panic!("no {nvcc} ({error}): run scripts/cuda-toolkit --env"));
    assert!(status.success(), "the kernels do not compile");
    println!("cargo::rustc-env=QWEN_QUEUE_KERNELS={}", ptx.display());
    println!("cargo::rustc-env=QWEN_QUEUE_COMPUTE_CAP={capability}");
}
