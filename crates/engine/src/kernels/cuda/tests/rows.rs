//! The kernels that work on rows, against their twins.

use rand::{SeedableRng, rngs::StdRng};

use super::super::arguments::{AddBias, AddRmsNorm, NormAndTurn, Pointer, RmsNorm, Swiglu};
use super::super::host::{Machine, Memory};
use super::{assert_near, draw};
use crate::kernels::rows;

#[test]
fn norm_kernels_match_their_cpu_twins() {
    let mut random = StdRng::seed_from_u64(1);
    for machine in Machine::all() {
        for (count, width) in [(1, 6), (3, 64), (2, 257), (2, 896)] {
            let what = format!("{machine:?} {count} x {width}");
            let x = draw(&mut random, count * width);
            let added = draw(&mut random, count * width);
            let weight = draw(&mut random, width);
            let eps = 1e-5;

            let mut expected = vec![0.0; x.len()];
            rows::rms_norm(&x, &weight, eps, &mut expected);
            let mut memory = Memory::default();
            let kernel = RmsNorm {
                x: memory.floats(&x),
                weight: memory.floats(&weight),
                out: memory.blank(x.len()),
                width: width as i32,
                eps,
            };
            machine.run(&kernel.launch(count), &mut memory).unwrap();
            assert_near(&memory.floats_at(kernel.out), &expected, 1e-5, &what);

            let mut sum = x.clone();
            rows::add_rms_norm(&mut sum, &added, &weight, eps, &mut expected);
            let mut memory = Memory::default();
            let kernel = AddRmsNorm {
                x: memory.floats(&x),
                added: memory.floats(&added),
                weight: memory.floats(&weight),
                out: memory.blank(x.len()),
                width: width as i32,
                eps,
            };
            machine.run(&kernel.launch(count), &mut memory).unwrap();
            assert_eq!(memory.floats_at(kernel.x), sum, "{what}");
            assert_near(&memory.floats_at(kernel.out), &expected, 1e-5, &what);
        }
    }
}

#[test]
fn normalised_and_rotated_heads_match_the_cpu_twin() {
    let mut random = StdRng::seed_from_u64(2);
    for machine in Machine::all() {
        for (tokens, heads, half) in [(1, 1, 3), (3, 5, 8), (2, 4, 32), (2, 9, 64)] {
            for with_norm in [false, true] {
                let x = draw(&mut random, tokens * heads * half * 2);
                let weight = draw(&mut random, half * 2);
                let angles: Vec<f32> = draw(&mut random, tokens * half);
                let cos: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
                let sin: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
                let mut expected = x.clone();
                let norm = with_norm.then_some((&weight[..], 1e-6));
                rows::norm_and_turn(&mut expected, (heads, 2 * half), norm, &cos, &sin, half);
                let mut memory = Memory::default();
                let kernel = NormAndTurn {
                    x: memory.floats(&x),
                    weight: if with_norm { memory.floats(&weight) } else { Pointer::NULL },
                    cos: memory.floats(&cos),
                    sin: memory.floats(&sin),
                    heads: heads as i32,
                    half: half as i32,
                    eps: 1e-6,
                };
                machine.run(&kernel.launch(tokens), &mut memory).unwrap();
                let what = format!("{machine:?} {tokens} x {heads} x {half}, norm {with_norm}");
                assert_near(&memory.floats_at(kernel.x), &expected, 1e-5, &what);
            }
        }
    }
}

#[test]
fn activation_and_bias_kernels_match_their_cpu_twins() {
    let mut random = StdRng::seed_from_u64(3);
    for machine in Machine::all() {
        for (count, width) in [(1, 1), (3, 100), (2, 256)] {
            let len = count * width;
            let what = format!("{machine:?} {count} x {width}");
            let (gate, up) = (draw(&mut random, len), draw(&mut random, len));
            let mut expected = gate.clone();
            rows::swiglu(&mut expected, &up);
            let mut memory = Memory::default();
            let kernel =
                Swiglu { gate: memory.floats(&gate), up: memory.floats(&up), len: len as i32 };
            machine.run(&kernel.launch(), &mut memory).unwrap();
            assert_near(&memory.floats_at(kernel.gate), &expected, 1e-5, &what);

            let bias = draw(&mut random, width);
            let mut expected = gate.clone();
            rows::add_bias(&mut expected, &bias);
            let mut memory = Memory::default();
            let kernel = AddBias {
                x: memory.floats(&gate),
                bias: memory.floats(&bias),
                len: len as i32,
                width: width as i32,
            };
            machine.run(&kernel.launch(), &mut memory).unwrap();
            assert_eq!(memory.floats_at(kernel.x), expected, "{what}");
        }
    }
}
