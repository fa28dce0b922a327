//! Products with small quantized weights in formats without a packed kernel, on the calling thread.
//!
//! candle wakes all its threads for every product. For a tiny model this takes most of the time, on
//! a busy machine nearly all of it (measured with the demo model: a factor of 25).

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0, GgmlType,
};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, bail};

/// Weights with fewer numbers are small. The smallest matrix of Qwen3-0.6B has exactly this many.
const SMALL_WEIGHT: usize = 1 << 20;
/// The most multiplications that are done on one thread: about a millisecond.
const SMALL_PRODUCT: usize = 1 << 23;

/// Whether [`multiply`] is faster than candle's product for this weight and `rows` rows of `x`.
pub(crate) fn is_small(weight: &QTensor, rows: usize) -> bool {
    let numbers = weight.shape().elem_count();
    numbers < SMALL_WEIGHT && numbers * rows <= SMALL_PRODUCT && weight.device().is_cpu()
}

/// Computes `x · weightᵀ` on the calling thread: `x` is `[rows, inputs]`, the weight `[outputs,
/// inputs]`, the result `[rows, outputs]`. Fails if the weight is not on the CPU or not quantized.
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
        other => bail!("{other:?} is not a quantized format"),
    }
}

fn typed<T: GgmlType>(weight: &QTensor, x: &[f32]) -> Result<Vec<f32>> {
    let (outputs, inputs) = weight.shape().dims2()?;
    let data = weight.data()?;
    // SAFETY: a weight on the CPU is a slice of the blocks of its format, `T`; `align_to` returns
    // only aligned blocks, and any other bytes are refused below.
    let (before, blocks, after) = unsafe { data.align_to::<T>() };
    let row_blocks = inputs / T::BLCK_SIZE;
    if !before.is_empty() || !after.is_empty() || blocks.len() != outputs * row_blocks {
        bail!("a weight's data is not a whole number of aligned blocks")
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

    /// The twin is candle's own product. They differ in the order of sums and in how activations
    /// are quantized.
    #[test]
    fn small_products_match_candle() {
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
