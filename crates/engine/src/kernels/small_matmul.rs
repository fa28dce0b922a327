//! Products with small quantized weights that have no kernel of ours, on the thread at hand.
//!
//! candle wakes all its threads for every product. For a tiny model that is most of the time, and
//! on a busy machine nearly all of it (measured: the demo model, 25 times).

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0, GgmlType,
};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, bail};

/// Weights of fewer numbers are small. The least matrix of Qwen3-0.6B has just so many.
const SMALL_WEIGHT: usize = 1 << 20;
/// Multiplications that are done on one thread before others are woken: about a millisecond.
const SMALL_PRODUCT: usize = 1 << 23;

/// Whether a product of `rows` rows with this weight is better done here.
pub(crate) fn is_small(weight: &QTensor, rows: usize) -> bool {
    let numbers = weight.shape().elem_count();
    numbers < SMALL_WEIGHT && numbers * rows <= SMALL_PRODUCT && weight.device().is_cpu()
}

/// `x · weightᵀ`: `x` is `[rows, inputs]`, the weight `[outputs, inputs]`.
pub(crate) fn multiply(weight: &QTensor, x: &[f32]) -> Result<Vec<f32>> {
    match weight.dtype() {
        GgmlDType::Q4_0 => typed::<BlockQ4_0>(weight, x),
        GgmlDType::Q4_1 => typed::<BlockQ4_1>(weight, x),
        GgmlDType::Q5_0 => typed::<BlockQ5_0>(weight, x),
        GgmlDType::Q5_1 => typed::<BlockQ5_1>(weight, x),
        GgmlDType::Q8_0 => typed::<BlockQ8_0>(weight, x),
        GgmlDType::Q2K => typed::<BlockQ2K>(weight, x),
        GgmlDType::Q3K => typed::<BlockQ3K>(weight, x),
        GgmlDType::Q4K => typed::<BlockQ4K>(weight, x),
        GgmlDType::Q5K => typed::<BlockQ5K>(weight, x),
        GgmlDType::Q6K => typed::<BlockQ6K>(weight, x),
        other => bail!("{other:?} is no quantized format"),
    }
}

fn typed<T: GgmlType>(weight: &QTensor, x: &[f32]) -> Result<Vec<f32>> {
    let (outputs, inputs) = weight.shape().dims2()?;
    let data = weight.data()?;
    // SAFETY: a weight on the CPU is a slice of the blocks of its format (`typed` is only called
    // with that), and `align_to` gives what is aligned; anything else is refused below.
    let (before, blocks, after) = unsafe { data.align_to::<T>() };
    let row_blocks = inputs / T::BLCK_SIZE;
    if !before.is_empty() || !after.is_empty() || blocks.len() != outputs * row_blocks {
        bail!("a weight's blocks do not lie as they should")
    }
    let mut product = Vec::with_capacity(x.len() / inputs * outputs);
    let mut packed = vec![T::VecDotType::zeros(); inputs / T::VecDotType::BLCK_SIZE];
    for row in x.chunks_exact(inputs) {
        T::VecDotType::from_float(row, &mut packed);
        let dots = blocks.chunks_exact(row_blocks);
        product.extend(dots.map(|weight| T::vec_dot(inputs, weight, &packed)));
    }
    Ok(product)
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QMatMul;
    use candle_core::{Device, Module, Tensor};

    use super::*;

    /// The twin is candle's own product; they differ by the order of sums and by how activations
    /// are quantized.
    #[test]
    fn small_products_are_candles_products() {
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let numbers = |len: usize, step: f32| -> Vec<f32> {
                (0..len).map(|n| (n as f32 * step).sin()).collect()
            };
            let weight =
                Tensor::from_vec(numbers(48 * 512, 0.37), (48, 512), &Device::Cpu).unwrap();
            let weight = std::sync::Arc::new(QTensor::quantize(&weight, dtype).unwrap());
            let x = numbers(3 * 512, 0.11);
            assert!(is_small(&weight, 3));
            let ours = multiply(&weight, &x).unwrap();
            let x = Tensor::from_vec(x, (3, 512), &Device::Cpu).unwrap();
            let theirs = QMatMul::from_arc(weight).unwrap().forward(&x).unwrap();
            let theirs: Vec<f32> = theirs.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() < 0.3, "{dtype:?}: {ours} is not {theirs}");
            }
        }
    }
}
