//! Products of packed weights with quantized activations.

use std::cell::RefCell;
use std::ops::Range;

use super::activations::{Activations, MAX_TILE_WIDTH, tile_width};
use super::format::{Format, panel_times_tile};
use super::lanes::{self, Sixteen};
use super::level::Level;
use super::{Kind, PANEL_ROWS, Packed, decoded, with_format};
use crate::kernels::parallel::{SharedOut, for_pieces};

/// Bytes of activations that a thread multiplies by one panel after the other. They stay in its
/// second-level cache, so only weights are read from memory, once for all these columns.
const STRIP_BYTES: usize = 512 << 10;

/// Multiply-adds that count as one simple operation in the cost of a job.
const PER_OPERATION: usize = 16;

/// Computes `x · weightᵀ` for several weights and one `x`. `outs` are `[rows, outputs]` each, f32.
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
    let strip = (STRIP_BYTES / (MAX_TILE_WIDTH * x.inputs())).max(1);
    let strips = x.tiles().div_ceil(strip);
    let cost = panels * PANEL_ROWS * x.inputs() * x.rows() / PER_OPERATION;
    // All panels of all weights with the first strip, then with the second, and so on.
    for_pieces(strips * panels, cost, |items| {
        for item in items {
            let (first, mut panel) = (item / panels * strip, item % panels);
            for (weight, out) in weights.iter().zip(outs) {
                if panel < weight.num_panels() {
                    let tiles = first..(first + strip).min(x.tiles());
                    // SAFETY: every panel is multiplied by every tile once.
                    unsafe { run(level, weight, panel, x, tiles, out) };
                    break;
                }
                panel -= weight.num_panels();
            }
        }
    });
}

/// Multiplies one panel by some tiles.
///
/// # Safety
/// The machine has the instructions of `S`; no other thread accesses this panel's columns in these
/// tiles' rows of `out`.
#[inline(always)]
unsafe fn multiply_tiles<F: Format, S: Sixteen>(
    weight: &Packed,
    (panel, bytes): (usize, &[u8]),
    x: &Activations,
    tiles: Range<usize>,
    out: SharedOut<'_, f32>,
) {
    for tile in tiles {
        // SAFETY: see above.
        unsafe {
            match tile_width(x.rows_of(tile)) {
                1 => multiply_tile::<F, S, 1>(weight, (panel, bytes), x, tile, out),
                2 => multiply_tile::<F, S, 2>(weight, (panel, bytes), x, tile, out),
                4 => multiply_tile::<F, S, 4>(weight, (panel, bytes), x, tile, out),
                _ => multiply_tile::<F, S, MAX_TILE_WIDTH>(weight, (panel, bytes), x, tile, out),
            }
        }
    }
}

/// Multiplies one panel by one tile.
///
/// # Safety
/// As for [`multiply_tiles`].
#[inline(always)]
unsafe fn multiply_tile<F: Format, S: Sixteen, const C: usize>(
    weight: &Packed,
    (panel, bytes): (usize, &[u8]),
    x: &Activations,
    tile: usize,
    out: SharedOut<'_, f32>,
) {
    // SAFETY: the caller has the instructions.
    let products = unsafe { panel_times_tile::<F, S, C>(bytes, x.tile::<C>(tile)) };
    let column = panel * PANEL_ROWS;
    let columns = PANEL_ROWS.min(weight.outputs() - column);
    for (row, products) in products.into_iter().take(x.rows_of(tile)).enumerate() {
        let start = (tile * MAX_TILE_WIDTH + row) * weight.outputs() + column;
        // SAFETY: no other thread accesses these numbers, and the caller has the instructions.
        unsafe {
            let out = out.part(start..start + columns);
            // Nearly all panels are whole; with a length known at compile time this is one store.
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

thread_local! {
    /// A decoded panel. The memory stays for the next.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Multiplies one panel by some tiles; decodes it first if its format is a grid.
///
/// # Safety
/// As for [`multiply_tiles`], except that a level is used only where its instructions are
/// available.
unsafe fn run(
    level: Level,
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tiles: Range<usize>,
    out: SharedOut<'_, f32>,
) {
    let bytes = weight.panel(panel);
    // SAFETY: the caller's contract.
    match weight.kind {
        Kind::Grid(grid) => DECODED.with_borrow_mut(|buffer| {
            let bytes = decoded::decode(grid, bytes, buffer);
            unsafe { run_level(level, weight, (panel, bytes), x, tiles, out) }
        }),
        _ => unsafe { run_level(level, weight, (panel, bytes), x, tiles, out) },
    }
}

/// Multiplies one panel by some tiles, with the kernel of the weight's format compiled for `level`.
///
/// # Safety
/// As for [`run`].
unsafe fn run_level(
    level: Level,
    weight: &Packed,
    panel: (usize, &[u8]),
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
                panel: (usize, &[u8]),
                x: &Activations,
                tiles: Range<usize>,
                out: SharedOut<'_, f32>,
            ) {
                // SAFETY: this function has the instructions; the rest is the caller's contract.
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
