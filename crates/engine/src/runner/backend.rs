//! Computes steps: on the CPU, a device, or several that share the layers.

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

/// A model and its pages, on the devices that compute it.
///
/// If several devices share the layers, a step runs through their stages in order, and the workspace carries
/// the residual stream from each to the next. All stages have the same pages, each with its own layers.
#[derive(Debug)]
pub(super) struct Backend {
    /// The stages before the last; empty if one place computes the whole model.
    before: Vec<Stage>,
    last: Stage,
    /// Steps until the device is treated as lost: see [`Backend::with_simulated_device_loss`].
    steps_left: Option<u64>,
    /// The argmax of the last step's rows; kept to reuse its memory.
    likeliest: Vec<Option<u32>>,
}

/// A model, or a part of its layers, and its pages.
#[derive(Debug)]
pub(super) enum Stage {
    /// On the CPU.
    Cpu(Box<Decoder>, KvPool),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda {
        /// The device's name.
        name: String,
        /// The layers.
        model: Box<cuda::Decoder>,
        /// Their keys and values.
        pages: Pages,
    },
}

/// The error of a step.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The step's sequences are lost; the next step may succeed.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
    /// The device is gone, or its memory ran out: results of later steps can't be trusted.
    #[error("{0}")]
    DeviceLost(String),
    /// A file of the model was changed since it was opened: neither this step nor later ones can be trusted.
    #[error("{0}")]
    ModelChanged(String),
}

impl Backend {
    /// Creates a backend with these stages.
    pub(super) fn new(before: Vec<Stage>, last: Stage) -> Self {
        Self { before, last, steps_left: None, likeliest: Vec::new() }
    }

    /// Creates a backend that computes everything on the CPU.
    #[cfg(test)]
    pub(super) fn cpu(model: Decoder, pool: KvPool) -> Self {
        Self::new(Vec::new(), Stage::Cpu(Box::new(model), pool))
    }

    /// Makes the device seem lost after that many steps.
    pub(super) fn with_simulated_device_loss(self, steps: Option<u64>) -> Self {
        Self { steps_left: steps, ..self }
    }

    /// Adds adapters to a model that is entirely on the CPU.
    #[cfg(test)]
    pub(super) fn with_adapters(self, adapters: crate::lora::Adapters) -> Self {
        let last = match self.last {
            Stage::Cpu(model, pool) => Stage::Cpu(Box::new(model.with_adapters(adapters)), pool),
            #[cfg(feature = "cuda")]
            other @ Stage::Cuda { .. } => other,
        };
        Self { last, ..self }
    }

    /// Returns the model's configuration.
    pub(super) fn config(&self) -> &ModelConfig {
        match &self.last {
            Stage::Cpu(model, _) => model.config(),
            #[cfg(feature = "cuda")]
            Stage::Cuda { model, .. } => model.config(),
        }
    }

    /// Returns why steps cannot verify drafted tokens exactly, or `None` if they can.
    pub(super) fn cannot_verify(&self) -> Option<&'static str> {
        let config = self.config();
        if config.pooling.is_some() {
            return Some("an embedding model generates no text");
        }
        if config.state_shape(0..config.layers).is_some() {
            return Some("its recurrent states cannot be rolled back");
        }
        self.before.iter().chain([&self.last]).find_map(|stage| match stage {
            Stage::Cpu(model, _) if model.rows_are_independent() => None,
            Stage::Cpu(..) => {
                Some("its weights are not packed, so logits depend on the rows beside them")
            }
            #[cfg(feature = "cuda")]
            Stage::Cuda { .. } => Some("it is not supported on GPUs"),
        })
    }

    /// Returns the argmax of the last step's `argmax_rows`; `None` where no logit is above minus infinity.
    pub(super) fn likeliest(&self) -> &[Option<u32>] {
        &self.likeliest
    }

    /// Runs one step and returns the logits of `batch.logit_rows`, as [`Decoder::forward`] of the whole model
    /// would. The argmax of `batch.argmax_rows` is returned by [`Self::likeliest`].
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
            let handed = stage.run_stage(batch, workspace);
            // Rows of the embedding were read in this step: check that the files are unchanged.
            stage.check_unchanged()?;
            handed?;
        }
        let rows = self.last.finish(batch, workspace, &mut self.likeliest);
        self.last.check_unchanged()?;
        rows
    }
}

impl Stage {
    /// Prepares a device so that the first request does not wait. (On the CPU this was part of loading the
    /// weights.)
    pub(super) fn warm_up(&mut self) -> Result<(), LoadError> {
        match self {
            Self::Cpu(..) => Ok(()),
            #[cfg(feature = "cuda")]
            Self::Cuda { model, pages, .. } => model.warm_up(pages),
        }
    }

    /// Checks that no file that steps read was written to since it was opened.
    fn check_unchanged(&self) -> Result<(), StepError> {
        let checked = match self {
            Self::Cpu(model, _) => model.check_unchanged(),
            #[cfg(feature = "cuda")]
            Self::Cuda { model, .. } => model.check_unchanged(),
        };
        checked.map_err(|error| StepError::ModelChanged(error.to_string()))
    }

    /// Computes its layers, and passes the residual stream to the next stage.
    fn run_stage(
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

    /// Computes the last layers and the requested outputs.
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
                tokens.resize(batch.argmax_rows.len(), None);
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
    /// Returns the error of the device with this name.
    #[cfg(feature = "cuda")]
    fn of_device(name: &str, error: candle_core::Error) -> Self {
        if cuda::is_lost(&error) {
            Self::DeviceLost(format!("{name}: {error}"))
        } else {
            Self::Compute(error)
        }
    }
}

#[cfg(test)]
mod tests;
