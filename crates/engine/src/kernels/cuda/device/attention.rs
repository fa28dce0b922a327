//! Uploading what a step needs, and launching attention.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{Device, Result, Tensor, bail};

use super::super::arguments::{Attend, JoinParts};
use super::super::attention_plan::{AttentionPlan, Pass};
use super::{AdaptedStep, Kernels, Pages, int, same};
use crate::batch::ForwardBatch;
use crate::kv::{KvShape, PAGE_TOKENS};

/// The data on the device that all layers of a step use.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) tokens: usize,
    /// `[tokens]`
    pub(super) slots: CudaSlice<u32>,
    tables: CudaSlice<u32>,
    passes: Vec<DevicePass>,
    /// Partial results of split tiles; each launch overwrites them.
    parts: CudaSlice<f32>,
    /// `[tokens, head_dim / 2]`
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
    /// The rows with LoRA adapters, if there are any.
    pub(crate) adapted: Option<AdaptedStep>,
}

/// A [`Pass`] on the device.
#[derive(Debug)]
struct DevicePass {
    rows: usize,
    num_items: usize,
    items: CudaSlice<u32>,
    num_joins: usize,
    joins: CudaSlice<u32>,
}

impl Kernels {
    /// Uploads what all layers of a step need, except for adapters. `cos` and `sin` are `[tokens,
    /// head_dim / 2]`.
    ///
    /// # Errors
    /// When the batch names pages or slots beyond the pool, or the driver fails.
    pub(crate) fn step(
        &self,
        batch: &ForwardBatch,
        heads: usize,
        pages: &Pages,
        cos: &[f32],
        sin: &[f32],
    ) -> Result<Step> {
        let shape = pages.shape;
        let tokens = batch.tokens.len();
        let plan = AttentionPlan::new(batch, heads, shape, self.blocks);
        // The kernels do not check these.
        let slots_end = pages.pages * PAGE_TOKENS;
        let foreign = plan.tables.iter().any(|page| *page as usize >= pages.pages);
        if foreign || batch.slot_mapping.iter().any(|slot| *slot >= slots_end) {
            bail!("a step names pages beyond the pool's {}", pages.pages)
        }
        let slots: Vec<u32> = batch.slot_mapping.iter().map(|slot| *slot as u32).collect();
        let numbers = plan.passes.iter().map(|pass| pass.part_numbers(shape)).max();
        let device = Device::Cuda(self.device.clone());
        let angles = |of: &[f32]| Tensor::from_slice(of, (tokens, shape.head_dim / 2), &device);
        let pass = |pass: &Pass| {
            Ok(DevicePass {
                rows: pass.rows,
                num_items: pass.items.len(),
                items: self.upload(pass.items.as_flattened())?,
                num_joins: pass.joins.len(),
                joins: self.upload(pass.joins.as_flattened())?,
            })
        };
        Ok(Step {
            tokens,
            slots: self.upload(&slots)?,
            tables: self.upload(&plan.tables)?,
            passes: plan.passes.iter().map(pass).collect::<Result<_>>()?,
            // SAFETY: the attention kernel writes whatever `join_parts` reads.
            parts: unsafe { self.device.alloc::<f32>(numbers.unwrap_or(0).max(1))? },
            cos: angles(cos)?,
            sin: angles(sin)?,
            adapted: None,
        })
    }

    /// Computes attention of the step's queries, `[tokens, heads * head_dim]`, over their
    /// sequences' pages. Returns `[tokens, heads * head_dim]`.
    pub(crate) fn attend(
        &self,
        pages: &Pages,
        layer: usize,
        step: &Step,
        queries: &Tensor,
        heads: usize,
    ) -> Result<Tensor> {
        let KvShape { kv_heads, head_dim, kv_type, .. } = pages.shape;
        same(queries.elem_count(), step.tokens * heads * head_dim)?;
        let (keys, values) = self.of_layer(pages, layer);
        let out = self.blank((step.tokens, heads * head_dim))?;
        for pass in &step.passes {
            let kernel = Attend {
                q: self.at(queries)?,
                keys,
                values,
                tables: self.slice(&step.tables),
                items: self.slice(&pass.items),
                out: self.at(&out)?,
                parts: self.slice(&step.parts),
                heads: int(heads)?,
                kv_heads: int(kv_heads)?,
                scale: 1.0 / (head_dim as f32).sqrt(),
            };
            let launch = kernel.launch(kv_type, head_dim, pass.rows, pass.num_items);
            // SAFETY: `step` has checked that the items name tokens of the step and pages of the
            // pool.
            unsafe { self.run(&launch)? };
            if pass.num_joins > 0 {
                let kernel = JoinParts {
                    parts: self.slice(&step.parts),
                    joins: self.slice(&pass.joins),
                    out: self.at(&out)?,
                    heads: int(heads)?,
                    kv_heads: int(kv_heads)?,
                    rows: int(pass.rows)?,
                    dim: int(head_dim)?,
                };
                // SAFETY: the joins name tokens of the step, and parts that the launch before
                // wrote.
                unsafe { self.run(&kernel.launch(pass.num_joins))? };
            }
        }
        Ok(out)
    }
}
