//! The argmax of a row against its twin.

use super::super::arguments::Argmax;
use super::super::host::{Machine, Memory};
use crate::kernels::likeliest::likeliest;

/// Launches the kernel as the engine does.
fn find(machine: &Machine, rows: &[f32], width: usize) -> Vec<Option<usize>> {
    let count = rows.len() / width;
    let mut memory = Memory::default();
    let kernel =
        Argmax { logits: memory.floats(rows), places: memory.blank(count), width: width as i32 };
    machine.run(&kernel.launch(count), &mut memory).unwrap();
    let places = memory.words_at(kernel.places);
    places.into_iter().map(|place| (place != u32::MAX).then_some(place as usize)).collect()
}

#[test]
fn argmax_returns_the_first_of_equal_maxima() {
    for machine in Machine::all() {
        for width in [1, 7, 32, 33, 1023, 1024, 1025, 5000] {
            // Few different values, so that many are equal; the largest in one or two of several
            // places.
            let mut rows: Vec<f32> =
                (0..6 * width).map(|n| ((n * 7_919) % 13) as f32 - 6.0).collect();
            for (row, place) in [0, width - 1, width / 2, width / 3].into_iter().enumerate() {
                rows[row * width + place] = 9.0;
                rows[row * width + (place + width / 5).min(width - 1)] = 9.0;
            }
            let twin: Vec<Option<usize>> = rows.chunks(width).map(likeliest).collect();
            assert_eq!(find(&machine, &rows, width), twin, "{machine:?} {width}");
        }
    }
}

#[test]
fn argmax_never_returns_nan() {
    let (nan, less) = (f32::NAN, f32::NEG_INFINITY);
    let extremes = [nan, -nan, less, f32::INFINITY, f32::MIN, f32::MAX, 0.0, -0.0, 1e-45];
    for machine in Machine::all() {
        for width in [3, 1100] {
            let mut rows = Vec::new();
            for filler in extremes {
                for one in extremes {
                    let mut row = vec![filler; width];
                    row[width * 2 / 3] = one;
                    rows.extend(row);
                }
            }
            let twin: Vec<Option<usize>> = rows.chunks(width).map(likeliest).collect();
            assert!(twin.contains(&None), "some rows have nothing to choose from");
            assert_eq!(find(&machine, &rows, width), twin, "{machine:?} {width}");
        }
    }
}
