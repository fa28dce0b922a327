//! Uploading what a step needs, storing its keys and values, and attention.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{Device, Result, Tensor, bail};

use super::super::arguments::{Attend, JoinParts, WritePages};
use super::super::attention_plan::{AttentionPlan, Pass};
use super::{AdaptedStep, Kernels, Pages, int, same};
use crate::layout::{KvShape, PAGE_TOKENS, Spans};

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
    /// Uploads what all layers of a step need, except for adapters. `slots` is where the keys and
    /// values of each row go: page × [`PAGE_TOKENS`] + place in the page. `[tokens]` `cos` and `sin` are `[tokens,
    /// head_dim / 2]`.
    ///
    /// # Errors
    /// When `spans` or `slots` name pages beyond the pool, or the driver fails.
    pub(crate) fn step(
        &self,
        spans: Spans<'_>,
        slots: &[usize],
        heads: usize,
        pages: &Pages,
        cos: &[f32],
        sin: &[f32],
    ) -> Result<Step> {
        let shape = pages.shape;
        let tokens = spans.rows();
        let plan = AttentionPlan::new(spans, heads, shape, self.blocks);
        // The kernels do not check these.
        let slots_end = pages.pages * PAGE_TOKENS;
        let foreign = plan.tables.iter().any(|page| *page as usize >= pages.pages);
        if foreign || slots.iter().any(|slot| *slot >= slots_end) {
            bail!("a step names pages beyond the pool's {}", pages.pages)
        }
        let slots: Vec<u32> = slots.iter().map(|slot| *slot as u32).collect();
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

    /// Stores the keys and values of the step's tokens, both `[tokens, kv_heads * head_dim]`.
    pub(crate) fn write_pages(
        &self,
        pages: &Pages,
        layer: usize,
        step: &Step,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let KvShape { kv_heads, head_dim, kv_type, .. } = pages.shape;
        same(keys.elem_count(), step.tokens * kv_heads * head_dim)?;
        same(values.elem_count(), step.tokens * kv_heads * head_dim)?;
        let (key_pages, value_pages) = self.of_layer(pages, layer);
        let kernel = WritePages {
            keys: self.at(keys)?,
            values: self.at(values)?,
            slots: self.slice(&step.slots),
            key_pages,
            value_pages,
            kv_heads: int(kv_heads)?,
            dim: int(head_dim)?,
        };
        // SAFETY: one slot per token; `step` has checked that they lie in these pages.
        unsafe { self.run(&kernel.launch(kv_type, step.tokens)) }
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
