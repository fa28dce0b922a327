//! Storing keys and values in pages, against the CPU's layout and rounding.

use half::f16;
use rand::{SeedableRng, rngs::StdRng};

use super::super::arguments::WritePages;
use super::super::host::{Machine, Memory};
use super::draw_short;
use crate::kv::{KvShape, KvType, PAGE_TOKENS};

#[test]
fn keys_and_values_are_stored_in_the_layout_attention_reads() {
    let mut random = StdRng::seed_from_u64(4);
    for machine in Machine::all() {
        for kv_type in [KvType::F32, KvType::F16] {
            let shape = KvShape { layers: 1, kv_heads: 3, head_dim: 16, kv_type };
            let (key, value) = (draw_short(&mut random, 2 * 48), draw_short(&mut random, 2 * 48));
            let blank = vec![0xff; 4 * PAGE_TOKENS * 48 * kv_type.size()];
            let slots = [2 * PAGE_TOKENS as u32 + 31, 5];
            let mut memory = Memory::default();
            let kernel = WritePages {
                keys: memory.floats(&key),
                values: memory.floats(&value),
                slots: memory.words(slots),
                key_pages: memory.bytes(blank.clone()),
                value_pages: memory.bytes(blank),
                kv_heads: 3,
                dim: 16,
            };
            machine.run(&kernel.launch(kv_type, 2), &mut memory).unwrap();
            for (from, pages) in [(&key, kernel.key_pages), (&value, kernel.value_pages)] {
                let pages = memory.bytes_at(pages);
                let pages: Vec<f32> = match kv_type {
                    KvType::F32 => pages
                        .chunks_exact(4)
                        .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
                        .collect(),
                    KvType::F16 => pages
                        .chunks_exact(2)
                        .map(|x| f16::from_le_bytes(x.try_into().unwrap()).to_f32())
                        .collect(),
                };
                for (token, slot) in slots.iter().enumerate() {
                    let (page, place) =
                        (*slot as usize / PAGE_TOKENS, *slot as usize % PAGE_TOKENS);
                    for head in 0..3 {
                        let at = ((page * 3 + head) * PAGE_TOKENS + place) * 16;
                        let own = (token * 3 + head) * 16;
                        assert_eq!(pages[at..at + 16], from[own..own + 16], "{machine:?}");
                    }
                }
                let written = pages.iter().filter(|x| !x.is_nan()).count();
                assert_eq!(written, 2 * 48, "{machine:?} {shape:?}: other places were written too");
            }
        }
    }
}

#[test]
fn f16_rounding_matches_the_cpu() {
    let half_way = 1.0 + 1.0 / 2048.0;
    let mut all = vec![0.0, -0.0, half_way, half_way + 1e-6, 1.0 + 3.0 / 2048.0, 65504.0, 65519.9];
    all.extend([65520.0, 1e30, f32::INFINITY, 6e-8, 3e-8, 2.9e-8, 1e-30, 6.1e-5, 6.09e-5, 1e-5]);
    all.extend((0..15).map(|n| (n as f32 * 1.7).exp() * 1e-7));
    let all: Vec<f32> = all.iter().flat_map(|x| [*x, -*x]).collect();
    for machine in Machine::all() {
        let blank = vec![0; 2 * all.len().next_multiple_of(PAGE_TOKENS)];
        let mut memory = Memory::default();
        let kernel = WritePages {
            keys: memory.floats(&all),
            values: memory.floats(&all),
            slots: memory.words(0..all.len() as u32),
            key_pages: memory.bytes(blank.clone()),
            value_pages: memory.bytes(blank),
            kv_heads: 1,
            dim: 1,
        };
        machine.run(&kernel.launch(KvType::F16, all.len()), &mut memory).unwrap();
        for (x, kept) in all.iter().zip(memory.bytes_at(kernel.key_pages).chunks_exact(2)) {
            let kept = f16::from_le_bytes(kept.try_into().unwrap());
            assert_eq!(kept.to_bits(), f16::from_f32(*x).to_bits(), "{machine:?} {x:e}: {kept:e}");
        }
    }
}
