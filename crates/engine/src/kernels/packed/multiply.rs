//! Panels times tiles.

use std::ops::Range;

use super::activations::{Activations, WIDEST, width_of};
use super::format::{Format, panel_times_tile};
use super::lanes::{self, Sixteen};
use super::level::Level;
use super::{PANEL_ROWS, Packed, with_format};
use crate::kernels::parallel::{SharedOut, for_pieces};

/// Bytes of activations that a thread multiplies with one panel after the other: they stay in its
/// second cache, so that only weights come from memory, once for all these columns.
const STRIP_BYTES: usize = 512 << 10;

/// Multiply-adds that count as one simple operation when work is shared out.
const PER_OPERATION: usize = 16;

/// `x · weightᵀ` for several weights and one `x`. `outs` are `[rows, outputs]` each.
pub(crate) fn multiply<const N: usize>(
    weights: [&Packed; N],
    x: &Activations,
    outs: [&mut [f32]; N],
) {
    multiply_on(Level::best(), weights, x, outs);
}

pub(super) fn multiply_on<const N: usize>(
    level: Level,
    weights: [&Packed; N],
    x: &Activations,
    outs: [&mut [f32]; N],
) {
    for (weight, out) in weights.iter().zip(&outs) {
        assert!(weight.inputs() == x.inputs(), "factors of different lengths");
        assert!(out.len() == x.rows() * weight.outputs(), "a product of another size");
    }
    let outs = outs.map(SharedOut::new);
    let panels = weights.iter().map(|weight| weight.num_panels()).sum::<usize>();
    let strip = (STRIP_BYTES / (WIDEST * x.inputs())).max(1);
    let strips = x.tiles().div_ceil(strip);
    let cost = panels * PANEL_ROWS * x.inputs() * x.rows() / PER_OPERATION;
    // Panel after panel of all weights with the first strip, then with the second, and so on.
    for_pieces(strips * panels, cost, |items| {
        for item in items {
            let (first, mut panel) = (item / panels * strip, item % panels);
            for (weight, out) in weights.iter().zip(outs) {
                if panel < weight.num_panels() {
                    let tiles = first..(first + strip).min(x.tiles());
                    // SAFETY: every panel meets every tile once.
                    unsafe { run(level, weight, panel, x, tiles, out) };
                    break;
                }
                panel -= weight.num_panels();
            }
        }
    });
}

/// One panel times some tiles.
///
/// # Safety
/// The instructions are those of `S`; no other thread has this panel's columns of these tiles' rows of
/// `out`.
#[inline(always)]
unsafe fn multiply_tiles<F: Format, S: Sixteen>(
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tiles: Range<usize>,
    out: SharedOut<'_, f32>,
) {
    for tile in tiles {
        // SAFETY: see above.
        unsafe {
            match width_of(x.rows_of(tile)) {
                1 => multiply_tile::<F, S, 1>(weight, panel, x, tile, out),
                2 => multiply_tile::<F, S, 2>(weight, panel, x, tile, out),
                4 => multiply_tile::<F, S, 4>(weight, panel, x, tile, out),
                _ => multiply_tile::<F, S, WIDEST>(weight, panel, x, tile, out),
            }
        }
    }
}

/// # Safety
/// As [`multiply_tiles`].
#[inline(always)]
unsafe fn multiply_tile<F: Format, S: Sixteen, const C: usize>(
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tile: usize,
    out: SharedOut<'_, f32>,
) {
    // SAFETY: the instructions are there.
    let products = unsafe { panel_times_tile::<F, S, C>(weight.panel(panel), x.tile::<C>(tile)) };
    let column = panel * PANEL_ROWS;
    let columns = PANEL_ROWS.min(weight.outputs() - column);
    for (row, products) in products.into_iter().take(x.rows_of(tile)).enumerate() {
        let start = (tile * WIDEST + row) * weight.outputs() + column;
        // SAFETY: nobody else has these, see above; the instructions are there.
        unsafe {
            let out = out.part(start..start + columns);
            // Nearly all panels are whole: of a known length it is one store.
            match out.as_mut_array::<PANEL_ROWS>() {
                Some(out) => S::store(products, out),
                None => {
                    let mut whole = [0.0; PANEL_ROWS];
                    S::store(products, &mut whole);
                    out.copy_from_slice(&whole[..columns]);
                }
            }
        }
    }
}

/// The kernel of the weight's format, compiled for the instructions of a level.
///
/// # Safety
/// As [`multiply_tiles`], but that a level is only made where its instructions are.
unsafe fn run(
    level: Level,
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tiles: Range<usize>,
    out: SharedOut<'_, f32>,
) {
    /// Defines `$name::<Format>`, compiled with `$features`.
    macro_rules! compiled {
        ($name:ident, $lanes:ident, $features:literal) => {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = $features)]
            unsafe fn $name<F: Format>(
                weight: &Packed,
                panel: usize,
                x: &Activations,
                tiles: Range<usize>,
                out: SharedOut<'_, f32>,
            ) {
                // SAFETY: the instructions are those of this function; the rest is the caller's.
                unsafe { multiply_tiles::<F, lanes::$lanes>(weight, panel, x, tiles, out) }
            }
        };
    }
    compiled!(avx512, Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c");
    compiled!(avx_vnni, AvxVnni, "avxvnni,avx2,fma,f16c");
    compiled!(avx2, Avx2, "avx2,fma,f16c");
    with_format!(weight.kind, F => {
        // SAFETY: see above.
        unsafe {
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512Vnni => avx512::<F>(weight, panel, x, tiles, out),
                #[cfg(target_arch = "x86_64")]
                Level::AvxVnni => avx_vnni::<F>(weight, panel, x, tiles, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2::<F>(weight, panel, x, tiles, out),
                Level::Portable => {
                    multiply_tiles::<F, lanes::Portable>(weight, panel, x, tiles, out);
                }
            }
        }
    });
}
