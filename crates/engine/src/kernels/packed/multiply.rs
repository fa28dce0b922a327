//! Panels times tiles.

use super::activations::{Activations, TileBlock, WIDEST, width_of};
use super::format::panel_times_tile;
use super::level::Level;
use super::{Kind, PANEL_ROWS, Packed, with_format};
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
                    for tile in first..(first + strip).min(x.tiles()) {
                        // SAFETY: every panel meets every tile once.
                        unsafe { multiply_tile(level, weight, panel, x, tile, out) };
                    }
                    break;
                }
                panel -= weight.num_panels();
            }
        }
    });
}

/// # Safety
/// No other thread has this panel's columns of this tile's rows of `out`.
unsafe fn multiply_tile(
    level: Level,
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tile: usize,
    out: SharedOut<'_, f32>,
) {
    // SAFETY: see above.
    unsafe {
        match width_of(x.rows_of(tile)) {
            1 => multiply_wide::<1>(level, weight, panel, x, tile, out),
            2 => multiply_wide::<2>(level, weight, panel, x, tile, out),
            4 => multiply_wide::<4>(level, weight, panel, x, tile, out),
            _ => multiply_wide::<WIDEST>(level, weight, panel, x, tile, out),
        }
    }
}

/// # Safety
/// As [`multiply_tile`].
unsafe fn multiply_wide<const C: usize>(
    level: Level,
    weight: &Packed,
    panel: usize,
    x: &Activations,
    tile: usize,
    out: SharedOut<'_, f32>,
) {
    let mut products = [[0.0; PANEL_ROWS]; C];
    run(level, weight.kind, weight.panel(panel), x.tile::<C>(tile), &mut products);
    let column = panel * PANEL_ROWS;
    let columns = PANEL_ROWS.min(weight.outputs() - column);
    for (row, products) in products.iter().take(x.rows_of(tile)).enumerate() {
        let start = (tile * WIDEST + row) * weight.outputs() + column;
        // SAFETY: nobody else has these, see above.
        let out = unsafe { out.part(start..start + columns) };
        // Nearly all panels are whole; of a known length it is one store.
        match out.as_mut_array::<PANEL_ROWS>() {
            Some(out) => *out = *products,
            None => out.copy_from_slice(&products[..columns]),
        }
    }
}

/// The kernel of a format, compiled for the instructions of a level.
fn run<const C: usize>(
    level: Level,
    kind: Kind,
    panel: &[u8],
    x: &[TileBlock<C>],
    out: &mut [[f32; PANEL_ROWS]; C],
) {
    /// Defines `$name::<Format>`, compiled with `$features`.
    macro_rules! compiled {
        ($name:ident, $lanes:ident, $features:literal) => {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = $features)]
            fn $name<F: super::format::Format, const C: usize>(
                panel: &[u8],
                x: &[TileBlock<C>],
                out: &mut [[f32; PANEL_ROWS]; C],
            ) {
                // SAFETY: the instructions are those of this function.
                unsafe { panel_times_tile::<F, super::lanes::$lanes, C>(panel, x, out) }
            }
        };
    }
    compiled!(avx512, Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c");
    compiled!(avx_vnni, AvxVnni, "avxvnni,avx2,fma,f16c");
    compiled!(avx2, Avx2, "avx2,fma,f16c");
    // SAFETY: a level is only made where its instructions are.
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => with_format!(kind, F => unsafe { avx512::<F, C>(panel, x, out) }),
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni => with_format!(kind, F => unsafe { avx_vnni::<F, C>(panel, x, out) }),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => with_format!(kind, F => unsafe { avx2::<F, C>(panel, x, out) }),
        Level::Portable => {
            // SAFETY: plain arrays need no instructions.
            with_format!(kind, F => unsafe {
                panel_times_tile::<F, super::lanes::Portable, C>(panel, x, out)
            });
        }
    }
}
