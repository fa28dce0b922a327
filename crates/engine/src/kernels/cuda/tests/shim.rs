//! Tests that the shim detects what kernels must not do.

use super::super::arguments::{Argument, RmsNorm};
use super::super::host::{Machine, Memory};
use super::super::launch::Launch;

fn norm(memory: &mut Memory, room: usize) -> Launch {
    let (x, weight) = (memory.floats(&[1.0; 64]), memory.floats(&[1.0; 64]));
    RmsNorm { x, weight, out: memory.blank(room), width: 64, eps: 1e-5 }.launch(1)
}

#[test]
fn the_shim_detects_forbidden_accesses_and_wrong_calls() {
    for machine in Machine::all() {
        if !matches!(machine, Machine::Host { .. }) {
            continue;
        }
        let run = |room: usize, change: &dyn Fn(&mut Launch)| {
            let mut memory = Memory::default();
            let mut launch = norm(&mut memory, room);
            change(&mut launch);
            machine.run(&launch, &mut memory)
        };
        let refused = |room: usize, change: &dyn Fn(&mut Launch), expected: &str| {
            let error = run(room, change).unwrap_err();
            assert!(error.contains(expected), "{machine:?}: {error}");
        };
        run(64, &|_| ()).unwrap();
        refused(64, &|launch| launch.shared_bytes = 16, "beyond its shared memory");
        refused(63, &|_| (), "beyond a buffer");
        refused(64, &|launch| launch.name = "rms_nrm".to_owned(), "no kernel of this name");
        refused(64, &|launch| launch.arguments.push(Argument::Int(1)), "more than it takes");
        refused(64, &|launch| launch.arguments.truncate(4), "less than it takes");
        refused(64, &|launch| launch.arguments.swap(3, 4), "another kind of argument");
    }
}
