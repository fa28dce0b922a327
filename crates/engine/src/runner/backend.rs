//! What computes steps: the processor, a device, or several that share the layers.

use crate::LoadError;
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
///
/// Where several devices share the layers, a step goes through their stages one after the other, and the
/// residual stream from each to the next by the workspace. All have the same pages, each those of its layers.
#[derive(Debug)]
pub(super) struct Backend {
    /// Those before the last; none where one place computes the whole model.
    before: Vec<Stage>,
    last: Stage,
    /// Steps until the device is taken for lost: see [`Backend::lost_after`].
    steps_left: Option<u64>,
    /// Of the step before: the memory stays.
    likeliest: Vec<Option<u32>>,
}

/// A model, or a part of its layers, and its pages.
#[derive(Debug)]
pub(super) enum Stage {
    /// On the processor.
    Cpu(Box<Decoder>, KvPool),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda {
        /// How it is named.
        name: String,
        /// What computes.
        model: Box<cuda::Decoder>,
        /// Its keys and values.
        pages: Pages,
    },
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
    /// A file of the model was changed since it was opened: neither this step nor a later one can be believed.
    #[error("{0}")]
    ModelChanged(String),
}

impl Backend {
    /// Computes in the last stage, after those before it.
    pub(super) fn new(before: Vec<Stage>, last: Stage) -> Self {
        Self { before, last, steps_left: None, likeliest: Vec::new() }
    }

    /// Computes all of it on the processor.
    #[cfg(test)]
    pub(super) fn cpu(model: Decoder, pool: KvPool) -> Self {
        Self::new(Vec::new(), Stage::Cpu(Box::new(model), pool))
    }

    /// The same, but that its device seems lost after so many steps.
    pub(super) fn lost_after(self, steps: Option<u64>) -> Self {
        Self { steps_left: steps, ..self }
    }

    /// The same with adapters beside the model, which is all on the processor.
    #[cfg(test)]
    pub(super) fn with_adapters(self, adapters: crate::lora::Adapters) -> Self {
        let last = match self.last {
            Stage::Cpu(model, pool) => Stage::Cpu(Box::new(model.with_adapters(adapters)), pool),
            #[cfg(feature = "cuda")]
            other @ Stage::Cuda { .. } => other,
        };
        Self { last, ..self }
    }

    /// What kind of model it is.
    pub(super) fn config(&self) -> &ModelConfig {
        match &self.last {
            Stage::Cpu(model, _) => model.config(),
            #[cfg(feature = "cuda")]
            Stage::Cuda { model, .. } => model.config(),
        }
    }

    /// What is likeliest of the last step's `likeliest_rows`; none where nothing is above minus infinity.
    pub(super) fn likeliest(&self) -> &[Option<u32>] {
        &self.likeliest
    }

    /// One step: what [`Decoder::forward`] of the whole model makes of `batch.logit_rows`, wherever it is
    /// computed. What is wanted of `batch.likeliest_rows`, [`Self::likeliest`] tells.
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
        for stage in &mut self.before {
            let handed = stage.hand_over(batch, workspace);
            // Rows of tokens were read in this step: from files that are still what was loaded?
            stage.check_unchanged()?;
            handed?;
        }
        let rows = self.last.finish(batch, workspace, &mut self.likeliest);
        self.last.check_unchanged()?;
        rows
    }
}

impl Stage {
    /// Has a device make now what the first request would wait for. (What that is on the processor counts as
    /// weights, so it was done with them.)
    pub(super) fn warm_up(&mut self) -> Result<(), LoadError> {
        match self {
            Self::Cpu(..) => Ok(()),
            #[cfg(feature = "cuda")]
            Self::Cuda { model, pages, .. } => model.warm_up(pages),
        }
    }

    /// Checks that nobody has written to a file that its steps read since it was opened.
    fn check_unchanged(&self) -> Result<(), StepError> {
        let checked = match self {
            Self::Cpu(model, _) => model.check_unchanged(),
            #[cfg(feature = "cuda")]
            Self::Cuda { model, .. } => model.check_unchanged(),
        };
        checked.map_err(|error| StepError::ModelChanged(error.to_string()))
    }

    /// Computes its layers, and leaves the residual stream to the stage behind it.
    fn hand_over(
        &mut self,
        batch: &ForwardBatch,
        workspace: &mut Workspace,
    ) -> Result<(), StepError> {
        match self {
            Self::Cpu(model, pool) => model.forward(batch, pool, workspace).map(drop)?,
            #[cfg(feature = "cuda")]
            Self::Cuda { name, model, pages } => {
                let stream = model.forward(batch, pages, workspace, &mut Vec::new());
                stream.map(drop).map_err(|error| StepError::of_device(name, error))?;
            }
        }
        Ok(())
    }

    /// Computes the last layers and what is wanted of them.
    fn finish<'a>(
        &mut self,
        batch: &ForwardBatch,
        workspace: &'a mut Workspace,
        tokens: &mut Vec<Option<u32>>,
    ) -> Result<&'a mut [f32], StepError> {
        match self {
            Self::Cpu(model, pool) => {
                let all = model.forward(batch, pool, workspace)?;
                let outputs = model.config().outputs();
                let (rows, drawn) = all.split_at_mut(batch.logit_rows.len() * outputs);
                tokens.clear();
                tokens.resize(batch.likeliest_rows.len(), None);
                let cost = drawn.len();
                for_rows(tokens, drawn, outputs, cost, |token, row| {
                    *token = likeliest(row).map(|place| place as u32);
                });
                Ok(rows)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda { name, model, pages } => {
                let rows = model.forward(batch, pages, workspace, tokens);
                rows.map_err(|error| StepError::of_device(name, error))
            }
        }
    }
}

impl StepError {
    /// An error of the device of this name.
    #[cfg(feature = "cuda")]
    fn of_device(name: &str, error: candle_core::Error) -> Self {
        if cuda::is_lost(&error) {
            Self::DeviceLost(format!("{name}: {error}"))
        } else {
            Self::Compute(error)
        }
    }
}
