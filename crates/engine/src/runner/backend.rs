//! What computes steps: the processor, or a device.

use crate::batch::ForwardBatch;
#[cfg(feature = "cuda")]
use crate::cuda;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Pages;
use crate::kernels::likeliest::likeliest;
use crate::kernels::parallel::for_rows;
use crate::kv::KvPool;
use crate::model::{Decoder, ModelConfig, Workspace};

/// A model and its pages, where they compute.
#[derive(Debug)]
pub(super) struct Backend {
    model: Model,
    /// Steps until the device is taken for lost: see [`Backend::lost_after`].
    steps_left: Option<u64>,
    /// Of the step before: the memory stays.
    likeliest: Vec<Option<u32>>,
}

#[derive(Debug)]
enum Model {
    Cpu(Box<Decoder>, KvPool),
    #[cfg(feature = "cuda")]
    Cuda(Box<cuda::Decoder>, Pages),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Its tasks are lost, the next step may go well.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
    /// The device is gone, or its memory ran out: no later step can be believed.
    #[error("{0}")]
    DeviceLost(String),
}

impl Backend {
    fn new(model: Model) -> Self {
        Self { model, steps_left: None, likeliest: Vec::new() }
    }

    /// Computes on the processor.
    pub(super) fn cpu(model: Decoder, pool: KvPool) -> Self {
        Self::new(Model::Cpu(Box::new(model), pool))
    }

    /// Computes on a GPU.
    #[cfg(feature = "cuda")]
    pub(super) fn cuda(model: cuda::Decoder, pages: Pages) -> Self {
        Self::new(Model::Cuda(Box::new(model), pages))
    }

    /// The same, but that its device seems lost after so many steps.
    pub(super) fn lost_after(self, steps: Option<u64>) -> Self {
        Self { steps_left: steps, ..self }
    }

    /// The same with adapters beside the model.
    #[cfg(test)]
    pub(super) fn with_adapters(self, adapters: crate::lora::Adapters) -> Self {
        let model = match self.model {
            Model::Cpu(model, pool) => Model::Cpu(Box::new(model.with_adapters(adapters)), pool),
            #[cfg(feature = "cuda")]
            other @ Model::Cuda(..) => other,
        };
        Self { model, ..self }
    }

    /// What kind of model it is.
    pub(super) fn config(&self) -> &ModelConfig {
        match &self.model {
            Model::Cpu(model, _) => model.config(),
            #[cfg(feature = "cuda")]
            Model::Cuda(model, _) => model.config(),
        }
    }

    /// What is likeliest of the last step's `likeliest_rows`; none where nothing is above minus infinity.
    pub(super) fn likeliest(&self) -> &[Option<u32>] {
        &self.likeliest
    }

    /// One step: what [`Decoder::forward`] makes of `batch.logit_rows`, wherever it is computed. What is wanted of
    /// `batch.likeliest_rows`, [`Self::likeliest`] tells.
    pub(super) fn forward<'a>(
        &mut self,
        batch: &ForwardBatch,
        workspace: &'a mut Workspace,
    ) -> Result<&'a mut [f32], StepError> {
        if let Some(left) = &mut self.steps_left {
            *left = left.checked_sub(1).ok_or_else(|| {
                StepError::DeviceLost("it was made to seem lost, as a setting asks".to_owned())
            })?;
        }
        match &mut self.model {
            Model::Cpu(model, pool) => {
                let all = model.forward(batch, pool, workspace)?;
                let outputs = model.config().outputs();
                let (rows, drawn) = all.split_at_mut(batch.logit_rows.len() * outputs);
                self.likeliest.clear();
                self.likeliest.resize(batch.likeliest_rows.len(), None);
                let cost = drawn.len();
                for_rows(&mut self.likeliest, drawn, outputs, cost, |token, row| {
                    *token = likeliest(row).map(|place| place as u32);
                });
                Ok(rows)
            }
            #[cfg(feature = "cuda")]
            Model::Cuda(model, pages) => {
                let rows = model.forward(batch, pages, workspace, &mut self.likeliest);
                rows.map_err(|error| match cuda::is_lost(&error) {
                    true => StepError::DeviceLost(error.to_string()),
                    false => StepError::Compute(error),
                })
            }
        }
    }
}
