//! Dequantizing rows of a weight file.

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0, GgmlType,
};
use candle_core::quantized::{GgmlDType, ggml_file};
use candle_core::{Device, Result, bail};
use half::{bf16, f16};

use super::grids::Grid;
use super::{as_numbers, nibbles};
use crate::weight_format::WeightFormat;

/// Dequantizes a row, or any whole blocks, in its file format into `out`, without allocating if the row is aligned.
pub(crate) fn dequantize(
    format: impl Into<WeightFormat>,
    row: &[u8],
    out: &mut [f32],
) -> Result<()> {
    let format = format.into();
    // candle would read beyond the end of a row that is too short.
    if !out.len().is_multiple_of(format.block_size())
        || row.len() != out.len() / format.block_size() * format.type_size()
    {
        bail!("{} bytes do not hold {} numbers of {format:?}", row.len(), out.len())
    }
    match format {
        WeightFormat::Candle(dtype) => return dequantize_known_to_candle(dtype, row, out),
        WeightFormat::Iq4Nl => nibbles::dequantize_iq4_nl(row, out),
        WeightFormat::Iq4Xs => nibbles::dequantize_iq4_xs(row, out),
        WeightFormat::Mxfp4 => nibbles::dequantize_mxfp4(row, out),
        grid => match Grid::of(grid) {
            Some(grid) => grid.dequantize(row, out),
            None => bail!("{grid:?} has no code that dequantizes it"),
        },
    }
    Ok(())
}

fn dequantize_known_to_candle(dtype: GgmlDType, row: &[u8], out: &mut [f32]) -> Result<()> {
    let done = match dtype {
        GgmlDType::F32 => typed::<f32>(row, out),
        GgmlDType::F16 => typed::<f16>(row, out),
        GgmlDType::BF16 => typed::<bf16>(row, out),
        GgmlDType::Q4_0 => typed::<BlockQ4_0>(row, out),
        GgmlDType::Q4_1 => typed::<BlockQ4_1>(row, out),
        GgmlDType::Q5_0 => typed::<BlockQ5_0>(row, out),
        GgmlDType::Q5_1 => typed::<BlockQ5_1>(row, out),
        GgmlDType::Q8_0 => typed::<BlockQ8_0>(row, out),
        GgmlDType::Q2K => typed::<BlockQ2K>(row, out),
        GgmlDType::Q3K => typed::<BlockQ3K>(row, out),
        GgmlDType::Q4K => typed::<BlockQ4K>(row, out),
        GgmlDType::Q5K => typed::<BlockQ5K>(row, out),
        GgmlDType::Q6K => typed::<BlockQ6K>(row, out),
        _ => false,
    };
    if !done {
        dequantize_with_candle(dtype, row, out)?;
    }
    Ok(())
}

/// Dequantizes blocks of `T`. Returns `false` if `row` is not aligned for them or not a whole
/// number.
fn typed<T: GgmlType>(row: &[u8], out: &mut [f32]) -> bool {
    // SAFETY: a block is plain numbers without padding, valid with any bits; `align_to` returns
    // only whole, aligned blocks.
    let (before, blocks, after) = unsafe { row.align_to::<T>() };
    let fits = before.is_empty() && after.is_empty() && blocks.len() * T::BLCK_SIZE == out.len();
    if fits {
        T::to_float(blocks, out);
    }
    fits
}

/// The twin: candle copies the row to aligned memory and makes a tensor of it.
fn dequantize_with_candle(dtype: GgmlDType, row: &[u8], out: &mut [f32]) -> Result<()> {
    let row = ggml_file::qtensor_from_ggml(dtype, row, vec![out.len()], &Device::Cpu)?;
    out.copy_from_slice(&as_numbers(&row.dequantize(&Device::Cpu)?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use candle_core::quantized::QTensor;

    use super::*;

    #[test]
    fn dequantized_rows_match_candle() {
        let numbers: Vec<f32> = (0..512).map(|n| (n as f32 * 0.37).sin()).collect();
        let tensor = Tensor::from_vec(numbers, 512, &Device::Cpu).unwrap();
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
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
            let row = QTensor::quantize(&tensor, dtype).unwrap();
            let row = row.data().unwrap();
            let (mut ours, mut twin) = (vec![0.0; 512], vec![1.0; 512]);
            dequantize(dtype, &row, &mut ours).unwrap();
            dequantize_with_candle(dtype, &row, &mut twin).unwrap();
            assert_eq!(ours, twin, "{dtype:?}");
            assert!(dequantize(dtype, &row[..row.len() - 2], &mut ours).is_err(), "{dtype:?}");
        }
    }

    /// The numbers that llama.cpp dequantizes from the same blocks; see the fixtures' README.
    #[test]
    fn formats_unknown_to_candle_match_llama_cpp_bit_for_bit() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
        for format in [
            WeightFormat::Iq4Nl,
            WeightFormat::Iq4Xs,
            WeightFormat::Mxfp4,
            WeightFormat::Iq3Xxs,
            WeightFormat::Iq3S,
            WeightFormat::Iq2Xxs,
            WeightFormat::Iq2Xs,
            WeightFormat::Iq2S,
            WeightFormat::Iq1S,
            WeightFormat::Iq1M,
        ] {
            let file = std::fs::read(folder.join(format!("{format:?}.bin"))).unwrap();
            let numbers = 1024;
            let (blocks, expected) = file.split_at(file.len() - 4 * numbers);
            let expected: Vec<u32> =
                expected.as_chunks::<4>().0.iter().map(|bits| u32::from_le_bytes(*bits)).collect();
            let mut ours = vec![f32::NAN; numbers];
            dequantize(format, blocks, &mut ours).unwrap();
            for (at, (ours, expected)) in ours.iter().zip(expected).enumerate() {
                let theirs = f32::from_bits(expected);
                assert_eq!(ours.to_bits(), expected, "{format:?} {at}: {ours}, not {theirs}");
            }
            assert!(dequantize(format, &blocks[1..], &mut ours).is_err(), "{format:?}");
        }
    }
}
