//! The kernels of mixture-of-experts layers against their twins.

use rand::{SeedableRng, rngs::StdRng};

use super::super::arguments::{ChooseExperts, MixExperts, OpenGate};
use super::super::host::{Machine, Memory};
use super::{assert_near, draw};
use crate::model::Experts;
use crate::model::routing::Routing;

fn choice(
    memory: &mut Memory,
    logits: &[f32],
    experts: usize,
    used: usize,
    normalized: bool,
) -> ChooseExperts<'static> {
    let room = logits.len() / experts * used;
    ChooseExperts {
        logits: memory.floats(logits),
        chosen: memory.blank(room),
        weights: memory.blank(room),
        experts: experts as i32,
        used: used as i32,
        normalized: normalized.into(),
    }
}

#[test]
fn expert_routing_and_mixing_match_the_cpu_twin() {
    let mut random = StdRng::seed_from_u64(7);
    for machine in Machine::all() {
        for (tokens, count, used) in [(1, 4, 1), (3, 60, 4), (2, 128, 8), (2, 5, 5)] {
            for normalized in [false, true] {
                let what = format!("{machine:?} {tokens} x {used} of {count}, {normalized}");
                let mut logits = draw(&mut random, tokens * count);
                logits[count - 1] = logits[0]; // a tie: the first is chosen
                let experts = Experts { count, used, ffn: 1, shared_ffn: None, normalized };
                let mut twin = Routing::default();
                twin.choose(&logits, &experts);
                let mut expected = vec![vec![]; tokens];
                for (expert, (tokens, weights)) in twin.by_expert() {
                    for (token, weight) in tokens.iter().zip(weights) {
                        expected[*token as usize].push((expert as u32, *weight));
                    }
                }
                let mut memory = Memory::default();
                let kernel = choice(&mut memory, &logits, count, used, normalized);
                machine.run(&kernel.launch(tokens), &mut memory).unwrap();
                let chosen = memory.words_at(kernel.chosen);
                let weights = memory.floats_at(kernel.weights);
                for (token, expected) in expected.iter().enumerate() {
                    let own = token * used..(token + 1) * used;
                    let mut found: Vec<(u32, f32)> =
                        chosen[own.clone()].iter().copied().zip(weights[own].to_vec()).collect();
                    assert!(
                        found.windows(2).all(|pair| pair[0].1 >= pair[1].1),
                        "{what}: {found:?}"
                    );
                    found.sort_by_key(|(expert, _)| *expert);
                    let names =
                        |all: &[(u32, f32)]| all.iter().map(|one| one.0).collect::<Vec<_>>();
                    assert_eq!(names(&found), names(expected), "{what}");
                    let weights =
                        |all: &[(u32, f32)]| all.iter().map(|one| one.1).collect::<Vec<_>>();
                    assert_near(&weights(&found), &weights(expected), 1e-5, &what);
                }

                let width = 300;
                let made = draw(&mut random, tokens * used * width);
                let before = draw(&mut random, tokens * width);
                let mut mixed = before.clone();
                for (index, row) in made.chunks_exact(width).enumerate() {
                    let to = &mut mixed[index / used * width..][..width];
                    to.iter_mut().zip(row).for_each(|(to, x)| *to += weights[index] * x);
                }
                let kernel = MixExperts {
                    made: memory.floats(&made),
                    weights: kernel.weights,
                    out: memory.floats(&before),
                    used: used as i32,
                    width: width as i32,
                };
                machine.run(&kernel.launch(tokens), &mut memory).unwrap();
                assert_near(&memory.floats_at(kernel.out), &mixed, 1e-5, &what);
            }
        }
    }
}

#[test]
fn nan_logits_still_select_existing_experts() {
    for machine in Machine::all() {
        for logits in [[f32::NAN; 4], [1.0, f32::NAN, 2.0, f32::NAN], [f32::NEG_INFINITY; 4]] {
            let mut memory = Memory::default();
            let kernel = choice(&mut memory, &logits, 4, 3, true);
            machine.run(&kernel.launch(1), &mut memory).unwrap();
            let chosen = memory.words_at(kernel.chosen);
            assert!(chosen.iter().all(|expert| *expert < 4), "{machine:?} {logits:?}");
        }
    }
}

#[test]
fn rows_are_scaled_by_the_sigmoid_of_their_gate() {
    let mut random = StdRng::seed_from_u64(8);
    for machine in Machine::all() {
        let (x, gate) = (draw(&mut random, 3 * 300), draw(&mut random, 3));
        let open = |gate: f32| 1.0 / (1.0 + (-gate).exp());
        let expected: Vec<f32> =
            x.iter().zip(0..).map(|(x, at)| x * open(gate[at / 300])).collect();
        let mut memory = Memory::default();
        let kernel = OpenGate { x: memory.floats(&x), gate: memory.floats(&gate), width: 300 };
        machine.run(&kernel.launch(3), &mut memory).unwrap();
        assert_near(&memory.floats_at(kernel.x), &expected, 1e-5, &format!("{machine:?}"));
    }
}
