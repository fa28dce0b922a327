//! A matrix that multiplies.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Module, Result, Tensor};

use crate::kernels::{as_numbers, small_matmul};

/// Up to so many rows, products that share their input are worth fusing: the input is quantized
/// once and the threads meet once. Beyond, candle's other paths are as good or better.
const FUSE_ROWS: usize = 16;

/// `x · weightᵀ + bias`.
#[derive(Debug)]
pub struct Linear {
    weight: QMatMul,
    /// The quantized weight, if it is one.
    quantized: Option<Arc<QTensor>>,
    /// `[outputs]`
    bias: Option<Tensor>,
    inputs: usize,
}

impl Linear {
    /// Of a weight `[outputs, inputs]` in its file format, and a bias `[outputs]`.
    pub fn new(weight: impl Into<Arc<QTensor>>, bias: Option<Tensor>) -> Result<Self> {
        let weight = weight.into();
        let (_, inputs) = weight.shape().dims2()?;
        let matmul = QMatMul::from_arc(weight.clone())?;
        let quantized = matches!(matmul, QMatMul::QTensor(_)).then_some(weight);
        Ok(Self { weight: matmul, quantized, bias, inputs })
    }

    /// `x` is `[rows, inputs]`, f32: candle's products of narrower types run on one thread.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.finish(self.multiply(x)?)
    }

    fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        match &self.quantized {
            Some(weight) if small_matmul::is_small(weight, x.dim(0)?) => {
                let product = small_matmul::multiply(weight, &as_numbers(x)?)?;
                Tensor::from_vec(product, (x.dim(0)?, weight.shape().dims()[0]), x.device())
            }
            _ => self.weight.forward(x),
        }
    }

    /// Several products of one input.
    pub fn forward_shared<const N: usize>(linears: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let fused = if x.dim(0)? <= FUSE_ROWS { Self::fused(&linears, x)? } else { None };
        let products = match fused {
            Some(products) => products,
            None => linears.iter().map(|one| one.multiply(x)).collect::<Result<Vec<_>>>()?,
        };
        let mut products = products.into_iter();
        let mut finished = Vec::with_capacity(N);
        for linear in linears {
            let Some(product) = products.next() else {
                candle_core::bail!("a fused product returned too few results")
            };
            finished.push(linear.finish(product)?);
        }
        finished.try_into().map_err(|_| candle_core::Error::msg("wrong number of products"))
    }

    fn fused(linears: &[&Self], x: &Tensor) -> Result<Option<Vec<Tensor>>> {
        let weights: Option<Vec<&QTensor>> =
            linears.iter().map(|one| one.quantized.as_deref()).collect();
        let rows = x.dim(0)?;
        match weights {
            Some(weights) if !weights.iter().any(|one| small_matmul::is_small(one, rows)) => {
                QTensor::gemv_fused_shared_lhs(&weights, x)
            }
            _ => Ok(None),
        }
    }

    fn finish(&self, product: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }

    /// Makes candle lay out the weight for its kernels now, not in the first request.
    pub fn warm_up(&self) -> Result<()> {
        let device = match &self.weight {
            QMatMul::QTensor(weight) => weight.device(),
            QMatMul::Tensor(weight) | QMatMul::TensorF16(weight) => weight.device().clone(),
        };
        // Some formats have one layout for single rows and another for many.
        for rows in [1, 2] {
            self.multiply(&Tensor::zeros((rows, self.inputs), DType::F32, &device)?)?;
        }
        Ok(())
    }
}
