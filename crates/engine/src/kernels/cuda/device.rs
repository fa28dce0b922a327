//! The kernels on a device: each method launches one and says what it takes and gives.
//!
//! Rows of numbers are candle's tensors, f32 and contiguous, as candle's quantized products take and give
//! them. Everything goes through one stream, in order: what is launched first is done first.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, Device, Result, Shape, Storage, Tensor, bail};

use super::attention_plan::AttentionPlan;
use super::launch::{HEAD_DIMS, Launch, TILE_ROWS};
use crate::batch::ForwardBatch;
use crate::kv::{KvShape, KvType, PAGE_TOKENS};

/// All kernels, as the driver takes them.
const PTX: &str = include_str!(env!("QWEN_QUEUE_KERNELS"));
/// Blocks of attention that a multiprocessor is given before tiles are left whole.
const BLOCKS_PER_MULTIPROCESSOR: usize = 4;

/// The kernels, loaded on a device.
pub(crate) struct Kernels {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    functions: HashMap<String, CudaFunction>,
    /// As many as keep the device busy.
    blocks: usize,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernels").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Where numbers lie on the device, for as long as they are borrowed.
struct Pointer<'a>(u64, PhantomData<&'a ()>);

impl Pointer<'_> {
    const NULL: Self = Pointer(0, PhantomData);
}

/// Keys and values of all sequences on the device. Per layer `[pages, kv_heads, PAGE_TOKENS, head_dim]`
/// each: what a block of attention reads of a page is one piece.
#[derive(Debug)]
pub(crate) struct Pages {
    shape: KvShape,
    pages: usize,
    /// `[layers]` of (keys, values)
    layers: Vec<(CudaSlice<u8>, CudaSlice<u8>)>,
}

/// What all layers of a step need on the device.
#[derive(Debug)]
pub(crate) struct Step {
    tokens: usize,
    /// `[tokens]`
    slots: CudaSlice<u32>,
    tables: CudaSlice<u32>,
    passes: Vec<DevicePass>,
    /// What blocks of split tiles leave for one another; each launch uses it anew.
    parts: CudaSlice<f32>,
    /// `[tokens, head_dim / 2]`
    cos: Tensor,
    sin: Tensor,
}

#[derive(Debug)]
struct DevicePass {
    rows: usize,
    num_items: usize,
    items: CudaSlice<u32>,
    num_joins: usize,
    joins: CudaSlice<u32>,
}

impl Kernels {
    /// Loads the kernels.
    ///
    /// # Errors
    /// When `device` is none of CUDA, or the driver refuses the kernels.
    pub(crate) fn new(device: &Device, multiprocessors: usize) -> Result<Self> {
        let device = device.as_cuda_device()?.clone();
        // SAFETY: candle and this module use this one stream alone, so that all that is done with an
        // allocation, from its making to its end, is done in order without events.
        unsafe { device.disable_event_tracking() };
        let stream = device.cuda_stream();
        keep_freed_memory(&stream);
        let module = stream.context().load_module(PTX.into()).w()?;
        let functions = all_names()
            .into_iter()
            .map(|name| {
                let function = module.load_function(&name).w()?;
                Ok((name, function))
            })
            .collect::<Result<_>>()?;
        Ok(Self { device, stream, functions, blocks: multiprocessors * BLOCKS_PER_MULTIPROCESSOR })
    }

    /// Makes the device that of the calling thread, for libraries that do not name theirs.
    pub(crate) fn bind(&self) -> Result<()> {
        self.stream.context().bind_to_thread().w()
    }

    /// Waits until all that was launched is done. What went wrong meanwhile is told here.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().w()
    }

    /// The norm of rows `x`, `[rows, width]`, by `weight`, `[width]`.
    pub(crate) fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        same(weight.elem_count(), width)?;
        let out = self.blank((rows, width))?;
        let pointers = [self.at(x)?, self.at(weight)?, self.at(&out)?];
        // SAFETY: `rows` blocks of rows of `width`, which all have.
        unsafe {
            self.launch(&Launch::norm("rms_norm", rows), &pointers, &[width as i32], &[eps])?
        };
        Ok(out)
    }

    /// `x += added`, then the norm of `x`. All `[rows, width]`.
    pub(crate) fn add_rms_norm(
        &self,
        x: &Tensor,
        added: &Tensor,
        weight: &Tensor,
        eps: f32,
    ) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        same(weight.elem_count(), width)?;
        same(added.elem_count(), rows * width)?;
        let out = self.blank((rows, width))?;
        let pointers = [self.at(x)?, self.at(added)?, self.at(weight)?, self.at(&out)?];
        let launch = Launch::norm("add_rms_norm", rows);
        // SAFETY: `rows` blocks of rows of `width`, which all have.
        unsafe { self.launch(&launch, &pointers, &[width as i32], &[eps])? };
        Ok(out)
    }

    /// Normalises the heads of `x`, `[tokens, heads * head_dim]`, if there is a weight, `[head_dim]`, and
    /// turns them to their tokens' places.
    pub(crate) fn norm_and_turn(
        &self,
        x: &Tensor,
        heads: usize,
        norm: Option<&Tensor>,
        eps: f32,
        step: &Step,
    ) -> Result<()> {
        let (tokens, half) = step.cos.dims2()?;
        same(x.elem_count(), tokens * heads * half * 2)?;
        if let Some(weight) = norm {
            same(weight.elem_count(), half * 2)?;
        }
        let weight = norm.map_or(Ok(Pointer::NULL), |weight| self.at(weight))?;
        let pointers = [self.at(x)?, weight, self.at(&step.cos)?, self.at(&step.sin)?];
        let sizes = [heads as i32, half as i32];
        // SAFETY: a warp for every head of every token, as checked.
        unsafe { self.launch(&Launch::norm_and_turn(tokens, heads), &pointers, &sizes, &[eps]) }
    }

    /// `gate = silu(gate) * up`, of one shape.
    pub(crate) fn swiglu(&self, gate: &Tensor, up: &Tensor) -> Result<()> {
        let len = gate.elem_count();
        same(up.elem_count(), len)?;
        let pointers = [self.at(gate)?, self.at(up)?];
        // SAFETY: both have `len` numbers.
        unsafe { self.launch(&Launch::each("swiglu", len), &pointers, &[int(len)?], &[]) }
    }

    /// Adds `bias`, `[width]`, to every row of `x`, `[rows, width]`.
    pub(crate) fn add_bias(&self, x: &Tensor, bias: &Tensor) -> Result<()> {
        let (rows, width) = x.dims2()?;
        same(bias.elem_count(), width)?;
        let pointers = [self.at(x)?, self.at(bias)?];
        let sizes = [int(rows * width)?, width as i32];
        // SAFETY: `x` has rows of `width` numbers, as the bias has.
        unsafe { self.launch(&Launch::each("add_bias", rows * width), &pointers, &sizes, &[]) }
    }

    /// The experts that tokens go through, by the router's `logits`, `[tokens, experts]`: which, and with
    /// what weight, both `[tokens, used]`.
    pub(crate) fn choose_experts(
        &self,
        logits: &Tensor,
        used: usize,
        normalized: bool,
    ) -> Result<(Tensor, Tensor)> {
        let (tokens, experts) = logits.dims2()?;
        if used > experts {
            bail!("{used} of {experts} experts")
        }
        // SAFETY: the kernel writes all of it before anybody reads it.
        let chosen = unsafe { self.device.alloc::<u32>(tokens * used)? };
        let chosen = CudaStorage::wrap_cuda_slice(chosen, self.device.clone());
        let chosen = tensor(chosen, (tokens, used));
        let weights = self.blank((tokens, used))?;
        let pointers = [self.at(logits)?, self.at(&chosen)?, self.at(&weights)?];
        let sizes = [experts as i32, used as i32, normalized.into()];
        // SAFETY: a block for every token, with room for its logits.
        unsafe { self.launch(&Launch::choose_experts(tokens, experts), &pointers, &sizes, &[])? };
        Ok((chosen, weights))
    }

    /// Adds to `out`, `[tokens, width]`, what experts `made`, `[tokens, used, width]`, by their weights.
    pub(crate) fn mix_experts(&self, made: &Tensor, weights: &Tensor, out: &Tensor) -> Result<()> {
        let (tokens, used, width) = made.dims3()?;
        same(weights.elem_count(), tokens * used)?;
        same(out.elem_count(), tokens * width)?;
        let pointers = [self.at(made)?, self.at(weights)?, self.at(out)?];
        let launch = Launch::each_of_rows("mix_experts", tokens, width);
        // SAFETY: a thread for every number of `out`, as checked.
        unsafe { self.launch(&launch, &pointers, &[used as i32, width as i32], &[]) }
    }

    /// Scales every row of `x`, `[rows, width]`, by the sigmoid of its gate, `[rows]`.
    pub(crate) fn open_gate(&self, x: &Tensor, gate: &Tensor) -> Result<()> {
        let (rows, width) = x.dims2()?;
        same(gate.elem_count(), rows)?;
        let pointers = [self.at(x)?, self.at(gate)?];
        let launch = Launch::each_of_rows("open_gate", rows, width);
        // SAFETY: a thread for every number of `x`, a gate for every row.
        unsafe { self.launch(&launch, &pointers, &[width as i32], &[]) }
    }

    /// Room for `pages` pages.
    pub(crate) fn pages(&self, shape: KvShape, pages: usize) -> Result<Pages> {
        let bytes = pages * shape.kv_heads * PAGE_TOKENS * shape.head_dim * shape.kv_type.size();
        let layer =
            |_| Ok((self.device.alloc_zeros::<u8>(bytes)?, self.device.alloc_zeros::<u8>(bytes)?));
        Ok(Pages { shape, pages, layers: (0..shape.layers).map(layer).collect::<Result<_>>()? })
    }

    /// Brings over what all layers of a step need. `cos` and `sin` are `[tokens, head_dim / 2]`.
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
        // The kernels believe these.
        let slots_end = pages.pages * PAGE_TOKENS;
        let foreign = plan.tables.iter().any(|page| *page as usize >= pages.pages);
        if foreign || batch.slot_mapping.iter().any(|slot| *slot >= slots_end) {
            bail!("a step names pages beyond the {} there are", pages.pages)
        }
        let slots: Vec<u32> = batch.slot_mapping.iter().map(|slot| *slot as u32).collect();
        let numbers = plan.passes.iter().map(|pass| pass.part_numbers(shape)).max();
        let device = Device::Cuda(self.device.clone());
        let angles = |of: &[f32]| Tensor::from_slice(of, (tokens, shape.head_dim / 2), &device);
        Ok(Step {
            tokens,
            slots: self.upload(&slots)?,
            tables: self.upload(&plan.tables)?,
            passes: plan
                .passes
                .iter()
                .map(|pass| {
                    Ok(DevicePass {
                        rows: pass.rows,
                        num_items: pass.items.len(),
                        items: self.upload(pass.items.as_flattened())?,
                        num_joins: pass.joins.len(),
                        joins: self.upload(pass.joins.as_flattened())?,
                    })
                })
                .collect::<Result<_>>()?,
            // SAFETY: blocks of attention write what the join reads.
            parts: unsafe { self.device.alloc::<f32>(numbers.unwrap_or(0).max(1))? },
            cos: angles(cos)?,
            sin: angles(sin)?,
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
        let (key_pages, value_pages) = &pages.layers[layer];
        let pointers = [
            self.at(keys)?,
            self.at(values)?,
            self.slice(&step.slots),
            self.slice(key_pages),
            self.slice(value_pages),
        ];
        let launch = Launch::write_pages(kv_type, step.tokens);
        // SAFETY: a slot for every token, which was checked to lie in these pages.
        unsafe { self.launch(&launch, &pointers, &[kv_heads as i32, head_dim as i32], &[]) }
    }

    /// What the step's queries, `[tokens, heads * head_dim]`, find in their sequences' pages.
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
        let (keys, values) = &pages.layers[layer];
        let out = self.blank((step.tokens, heads * head_dim))?;
        let scale = 1.0 / (head_dim as f32).sqrt();
        for pass in &step.passes {
            let pointers = [
                self.at(queries)?,
                self.slice(keys),
                self.slice(values),
                self.slice(&step.tables),
                self.slice(&pass.items),
                self.at(&out)?,
                self.slice(&step.parts),
            ];
            let sizes = [heads as i32, kv_heads as i32];
            let launch = Launch::attend(kv_type, head_dim, pass.rows, pass.num_items, kv_heads);
            // SAFETY: the items name tokens of the step and pages that were checked to be there.
            unsafe { self.launch(&launch, &pointers, &sizes, &[scale])? };
            if pass.num_joins > 0 {
                let pointers = [self.slice(&step.parts), self.slice(&pass.joins), self.at(&out)?];
                let sizes = [heads, kv_heads, pass.rows, head_dim].map(|n| n as i32);
                let launch = Launch::join_parts(pass.num_joins, heads);
                // SAFETY: the joins name tokens of the step, and parts that were written just now.
                unsafe { self.launch(&launch, &pointers, &sizes, &[])? };
            }
        }
        Ok(out)
    }

    /// Copies rows to the CPU, once they are computed.
    pub(crate) fn download(&self, rows: &Tensor, to: &mut [f32]) -> Result<()> {
        same(rows.elem_count(), to.len())?;
        let rows = rows.contiguous()?;
        let (storage, layout) = rows.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { bail!("these rows are not on the device") };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("scattered rows") };
        let from = storage.as_cuda_slice::<f32>()?.slice(start..end);
        self.stream.memcpy_dtoh(&from, to).w()?;
        self.synchronize()
    }

    fn upload(&self, numbers: &[u32]) -> Result<CudaSlice<u32>> {
        // There are no allocations of nothing.
        self.device.clone_htod(if numbers.is_empty() { &[0][..] } else { numbers })
    }

    /// Numbers that a kernel will write.
    fn blank(&self, shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: any bits are an f32, and who calls this has a kernel write all of them.
        let slice = unsafe { self.device.alloc::<f32>((shape.0 * shape.1).max(1))? };
        Ok(tensor(CudaStorage::wrap_cuda_slice(slice, self.device.clone()), shape))
    }

    /// Where a tensor's numbers begin: contiguous, of 32 bits each.
    fn at<'a>(&self, tensor: &'a Tensor) -> Result<Pointer<'a>> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!("a kernel is given numbers that do not lie together")
        };
        let Storage::Cuda(CudaStorage { slice, .. }) = &*storage else {
            bail!("a kernel is given numbers that are not on the device")
        };
        let address = match slice {
            CudaStorageSlice::F32(slice) => slice.device_ptr(&self.stream).0,
            CudaStorageSlice::U32(slice) => slice.device_ptr(&self.stream).0,
            _ => bail!("a kernel is given {:?}", tensor.dtype()),
        };
        Ok(Pointer(address + (start * size_of::<f32>()) as u64, PhantomData))
    }

    fn slice<'a, T>(&self, slice: &'a CudaSlice<T>) -> Pointer<'a> {
        Pointer(slice.device_ptr(&self.stream).0, PhantomData)
    }

    /// Launches a kernel with its arguments in the order in which all take them: pointers, whole numbers,
    /// broken numbers.
    ///
    /// # Safety
    /// The kernel takes exactly these, and stays within what the pointers lead to.
    unsafe fn launch(
        &self,
        launch: &Launch,
        pointers: &[Pointer<'_>],
        numbers: &[i32],
        fractions: &[f32],
    ) -> Result<()> {
        if launch.grid.0 == 0 || launch.grid.1 == 0 {
            return Ok(());
        }
        let Some(function) = self.functions.get(&launch.name) else {
            bail!("there is no kernel {:?}", launch.name)
        };
        let mut builder = self.stream.launch_builder(function);
        for Pointer(address, _) in pointers {
            builder.arg(address);
        }
        for number in numbers {
            builder.arg(number);
        }
        for fraction in fractions {
            builder.arg(fraction);
        }
        let config = LaunchConfig {
            grid_dim: (launch.grid.0, launch.grid.1, 1),
            block_dim: (launch.threads, 1, 1),
            shared_mem_bytes: launch.shared_bytes,
        };
        // SAFETY: see above. Memory that is freed after this is freed in the stream's order.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Has the driver leave to the process what a step frees, for the next one. Else it goes back, and is asked for
/// anew, each time the stream is waited for. Where there are no pools of memory nothing is gained, nor lost.
fn keep_freed_memory(stream: &CudaStream) {
    let mut most = u64::MAX;
    // SAFETY: the device is that of a live context, the pool its own, and the attribute a number of 64 bits.
    let kept = unsafe {
        result::device::get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, (&raw mut most).cast())
        })
    };
    if let Err(error) = kept {
        tracing::debug!("the driver keeps no freed memory: {error}");
    }
}

fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

fn same(found: usize, expected: usize) -> Result<()> {
    if found != expected {
        bail!("a kernel is given {found} numbers in the place of {expected}")
    }
    Ok(())
}

/// Kernels count in 32 bits.
fn int(count: usize) -> Result<i32> {
    i32::try_from(count).map_err(|_| {
        candle_core::Error::msg(format!("{count} numbers in one step; set fewer tokens a step"))
    })
}

/// The names of all kernels.
fn all_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "rms_norm",
        "add_rms_norm",
        "norm_and_turn",
        "swiglu",
        "add_bias",
        "choose_experts",
        "mix_experts",
        "open_gate",
        "join_parts",
    ]
    .map(str::to_owned)
    .to_vec();
    for kv_type in [KvType::F32, KvType::F16] {
        names.push(Launch::write_pages(kv_type, 1).name);
        for dim in HEAD_DIMS {
            let rows = TILE_ROWS.iter().filter(|rows| kv_type == KvType::F16 || **rows < 32);
            names.extend(rows.map(|rows| Launch::attend(kv_type, dim, *rows, 1, 1).name));
        }
    }
    names
}

#[cfg(test)]
impl Kernels {
    /// For tests; why not, where there is no device.
    pub(super) fn on_first_device() -> std::result::Result<Self, String> {
        let device = crate::cuda::open(0).map_err(|error| error.to_string())?;
        let multiprocessors = crate::cuda::multiprocessors(&device);
        Self::new(&device, multiprocessors).map_err(|error| error.to_string())
    }

    /// Launches a kernel with plain bytes.
    pub(super) fn run_raw(
        &self,
        launch: &Launch,
        buffers: &[Vec<u8>],
        numbers: &[i32],
        fractions: &[f32],
    ) -> std::result::Result<Vec<Vec<u8>>, String> {
        let run = || -> Result<Vec<Vec<u8>>> {
            let slices: Vec<Option<CudaSlice<u8>>> = buffers
                .iter()
                .map(|bytes| (!bytes.is_empty()).then(|| self.device.clone_htod(bytes)).transpose())
                .collect::<Result<_>>()?;
            let pointer = |slice: &Option<CudaSlice<u8>>| match slice {
                Some(slice) => Pointer(slice.device_ptr(&self.stream).0, PhantomData),
                None => Pointer::NULL,
            };
            let pointers: Vec<Pointer<'_>> = slices.iter().map(pointer).collect();
            // SAFETY: the tests call kernels with what they take; the shim checks the same calls.
            unsafe { self.launch(launch, &pointers, numbers, fractions)? };
            self.synchronize()?;
            slices
                .iter()
                .map(|slice| {
                    slice.as_ref().map_or(Ok(vec![]), |slice| self.device.clone_dtoh(slice))
                })
                .collect()
        };
        run().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_in_the_module() {
        for name in all_names() {
            assert!(PTX.contains(&format!(".entry {name}(")), "{name}");
        }
        let entries = PTX.matches(".entry ").count();
        assert_eq!(entries, all_names().len(), "a kernel is in the module and not in the list");
    }
}
