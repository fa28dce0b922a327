//! Running kernels on a device in tests: checks of the module that nvcc made, and launches on plain
//! bytes.

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};

use super::super::arguments::SIGNATURES;
use super::*;

impl Kernels {
    /// Loads the kernels on the first device. Returns the reason if there is none.
    pub(in super::super) fn on_first_device() -> std::result::Result<Self, String> {
        let device = crate::cuda::open(0).map_err(|error| error.to_string())?;
        let multiprocessors = crate::cuda::multiprocessors(&device);
        Self::new(&device, multiprocessors).map_err(|error| error.to_string())
    }

    /// Runs a kernel on copies of `buffers`. Its pointers are indices of buffers from 1, or 0 for
    /// null. Returns the buffers after the run.
    pub(in super::super) fn run_on_copies(
        &self,
        launch: &Launch,
        buffers: &[Vec<u8>],
    ) -> std::result::Result<Vec<Vec<u8>>, String> {
        let run = || -> Result<Vec<Vec<u8>>> {
            let slices: Vec<CudaSlice<u8>> = buffers
                .iter()
                .map(|bytes| {
                    self.device.clone_htod(if bytes.is_empty() { &[0][..] } else { bytes })
                })
                .collect::<Result<_>>()?;
            let mut launch = launch.clone();
            for argument in &mut launch.arguments {
                if let Argument::Pointer(place @ 1..) = argument {
                    *place = slices[*place as usize - 1].device_ptr(&self.stream).0;
                }
            }
            // SAFETY: the tests pass buffers of the sizes that kernels need; the shim checks the
            // same calls.
            unsafe { self.run(&launch)? };
            self.synchronize()?;
            let copies = slices.iter().map(|slice| self.device.clone_dtoh(slice));
            let copies = copies.collect::<Result<Vec<_>>>()?.into_iter().zip(buffers);
            Ok(copies.map(|(copy, bytes)| copy[..bytes.len()].to_vec()).collect())
        };
        run().map_err(|error| error.to_string())
    }
}

/// The module has exactly the listed kernels, and each parameter has the size of the argument
/// passed for it.
#[test]
fn the_module_has_the_listed_kernels_and_parameters() {
    for (name, parameters) in SIGNATURES {
        for name in variants(name) {
            let entry = PTX.split_once(&format!(".entry {name}(")).expect(&name).1;
            let declared = entry.split_once(')').expect("no end of the parameter list").0;
            let widths = declared.lines().filter_map(|line| line.trim().strip_prefix(".param "));
            let widths: Vec<&str> =
                widths.map(|line| line.split_whitespace().next().unwrap()).collect();
            let expected: Vec<&str> = parameters
                .iter()
                .map(|(kind, _)| match *kind {
                    "int" => ".u32",
                    "float" => ".f32",
                    _ => ".u64",
                })
                .collect();
            assert_eq!(widths, expected, "{name}");
        }
    }
    let entries = PTX.matches(".entry ").count();
    assert_eq!(entries, all_names().count(), "a kernel is in the module and not in the list");
}
