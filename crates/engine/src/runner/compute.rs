//! The compute thread: it owns the model, the pages, the scheduler and the sinks.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use super::backend::{Backend, StepError};
use super::gauges::{Gauges, HaltReason};
use super::sink::Sink;
use crate::api::{GenerateError, StopReason};
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::model::Workspace;
use crate::sched::{Scheduler, Sequence, SequenceId, StepPlan};
use crate::speculate::{DraftKind, Speculator};

mod draws;

pub(super) use draws::Draw;

/// A validated request for the compute thread.
pub(super) struct Job {
    pub(super) sequence: Sequence,
    pub(super) sink: Sink,
}

/// The state of the compute thread.
pub(super) struct Compute {
    pub(super) backend: Backend,
    pub(super) workspace: Workspace,
    /// The plan of the current step, and its arrays.
    pub(super) plan: StepPlan,
    pub(super) batch: ForwardBatch,
    pub(super) scheduler: Scheduler,
    pub(super) sinks: HashMap<SequenceId, Sink>,
    /// The sinks for which tokens are being sampled.
    pub(super) draws: Vec<Draw>,
    pub(super) speculator: Speculator,
    /// The last token of a sequence and the drafted ones after it.
    pub(super) drafted_rows: Vec<u32>,
    /// Tokens that end a turn.
    pub(super) ends: Vec<u32>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) jobs: Receiver<Box<Job>>,
}

impl Compute {
    /// Runs until it is stopped, every handle is dropped, results can no longer be trusted, or a panic
    /// occurs.
    pub(super) fn run(mut self) {
        crate::system::defer_to_others();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work()));
        if let Ok(Err(halt)) = &outcome {
            let _ = self.gauges.halt.set(halt.clone());
        }
        self.gauges.stopped.store(true, Ordering::Release);
        let error = match outcome {
            Ok(Ok(())) => GenerateError::Stopped,
            Ok(Err(HaltReason::DeviceLost(problem))) => {
                tracing::error!("the device is lost: {problem}");
                GenerateError::DeviceLost(problem)
            }
            Ok(Err(HaltReason::ModelChanged(problem))) => {
                tracing::error!("the engine stops: {problem}");
                GenerateError::Stopped
            }
            Err(panic) => {
                let problem = panic_message(&*panic);
                tracing::error!("the engine's compute thread panicked: {problem}");
                GenerateError::Compute(problem)
            }
        };
        self.gauges.running.store(0, Ordering::Relaxed);
        let drawing = self.draws.drain(..).filter_map(|draw| draw.sink);
        let running = self.sinks.drain().map(|(_, sink)| sink).chain(drawing);
        let running = running.map(|sink| (sink, error.clone()));
        let waiting = self.jobs.try_iter().map(|job| (job.sink, GenerateError::Stopped));
        for (sink, error) in running.chain(waiting) {
            self.gauges.in_flight.fetch_sub(1, Ordering::Relaxed);
            sink.fail(error);
        }
    }

    fn work(&mut self) -> Result<(), HaltReason> {
        while self.take_jobs() {
            self.round()?;
        }
        Ok(())
    }

    /// Runs one step, from scheduling to emitting tokens.
    fn round(&mut self) -> Result<(), HaltReason> {
        // Take the plan for the round and put it back, so that a step does not allocate.
        let mut plan = std::mem::take(&mut self.plan);
        self.scheduler.schedule_into(Instant::now(), &mut plan);
        self.follow(&plan);
        if !plan.chunks.is_empty() {
            let began = Instant::now();
            self.speculator.draft(&mut plan, &mut self.scheduler);
            let drafted = began.elapsed();
            let stepped = self.step(&plan);
            self.speculator.note_step(&plan, (began.elapsed() - drafted).as_secs_f64());
            self.measure(&plan, began);
            match stepped {
                Ok(()) => {}
                Err(StepError::DeviceLost(problem)) => return Err(HaltReason::DeviceLost(problem)),
                Err(StepError::ModelChanged(problem)) => {
                    return Err(HaltReason::ModelChanged(problem));
                }
                Err(StepError::Compute(error)) => {
                    tracing::error!("a step failed: {error}");
                    for chunk in &plan.chunks {
                        self.fail(chunk.id, GenerateError::Compute(error.to_string()));
                    }
                }
            }
        }
        self.plan = plan;
        self.gauges.running.store(self.scheduler.num_running(), Ordering::Relaxed);
        self.gauges.steps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Adds a step to the counters.
    fn measure(&self, plan: &StepPlan, began: Instant) {
        let tokens = plan.num_tokens();
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.gauges.computed_steps.fetch_add(1, Ordering::Relaxed);
        self.gauges.step_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.gauges.step_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Publishes the numbers of drafted tokens.
    fn count_drafts(&self) {
        let gauges = &self.gauges;
        for (kind, drafted, accepted) in [
            (DraftKind::Lookup, &gauges.lookup_drafted, &gauges.lookup_accepted),
            (DraftKind::Model, &gauges.model_drafted, &gauges.model_accepted),
        ] {
            let totals = self.speculator.totals(kind);
            drafted.store(totals.drafted, Ordering::Relaxed);
            accepted.store(totals.accepted, Ordering::Relaxed);
        }
    }

    /// Takes submitted jobs, and sleeps if there is nothing else to do; returns false to stop.
    fn take_jobs(&mut self) -> bool {
        loop {
            if self.gauges.stop.load(Ordering::Acquire) {
                return false;
            }
            let job = if self.scheduler.is_idle() {
                self.jobs.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.jobs.try_recv()
            };
            match job {
                Ok(job) => {
                    let Job { sequence, sink } = *job;
                    self.sinks.insert(sequence.id(), sink);
                    self.scheduler.add(sequence);
                }
                Err(TryRecvError::Empty) => return true,
                // Every handle was dropped, so no reader is left.
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Updates the streams that were admitted or ended.
    fn follow(&mut self, plan: &StepPlan) {
        let now = Instant::now();
        for (id, reason) in &plan.ended {
            self.finish(*id, *reason);
        }
        for id in &plan.admitted {
            if let Some(sink) = self.sinks.get_mut(id) {
                sink.admit(now);
            }
        }
        for (id, tokens) in &plan.cached {
            if let Some(sink) = self.sinks.get_mut(id) {
                sink.add_cached(*tokens);
            }
            self.gauges.cached_prompt_tokens.fetch_add(*tokens as u64, Ordering::Relaxed);
        }
        if !plan.preempted.is_empty() {
            tracing::debug!("pages ran out: {} sequences wait again", plan.preempted.len());
            self.gauges.preemptions.fetch_add(plan.preempted.len() as u64, Ordering::Relaxed);
        }
    }

    /// Computes the plan's chunks, and samples for those that end with their last token.
    fn step(&mut self, plan: &StepPlan) -> Result<(), StepError> {
        self.batch.clear();
        for chunk in &plan.chunks {
            let sequence = self.scheduler.sequence(chunk.id);
            let Some((sequence, pages)) = sequence.and_then(|one| Some((one, one.pages()?))) else {
                let problem = "a chunk was planned for a sequence that does not run";
                return Err(candle_core::Error::msg(problem).into());
            };
            let end = chunk.start + chunk.len;
            let mut tokens = &sequence.tokens()[chunk.start..end];
            if chunk.drafted > 0 {
                self.drafted_rows.clear();
                self.drafted_rows.extend_from_slice(tokens);
                self.drafted_rows.extend_from_slice(sequence.draft());
                tokens = &self.drafted_rows;
            }
            let of_prompt = sequence.prompt_len().min(end).saturating_sub(chunk.start);
            self.gauges.computed_prompt_tokens.fetch_add(of_prompt as u64, Ordering::Relaxed);
            let logits = match self.wants(chunk.id) {
                _ if !chunk.samples => Logits::None,
                // Drafted tokens follow single tokens, so each row is verified or sampled from.
                Logits::Argmax if chunk.drafted > 0 => Logits::AllArgmax,
                _ if chunk.drafted > 0 => Logits::All,
                last => last,
            };
            let (adapter, injected) = (sequence.adapter(), sequence.injected());
            let start = chunk.start;
            self.batch.push(SequenceRows { tokens, start, pages, logits, adapter, injected });
        }
        // Take the workspace while tokens are sampled from the logits in it.
        let mut workspace = std::mem::take(&mut self.workspace);
        let drawn = self.forward(plan, &mut workspace);
        self.workspace = workspace;
        drawn
    }

    /// Returns which logits of its last token a sequence needs.
    fn wants(&self, id: SequenceId) -> Logits {
        self.sinks.get(&id).map_or(Logits::Last, Sink::wants)
    }

    fn finish(&mut self, id: SequenceId, reason: StopReason) {
        if let Some(sink) = self.end(id) {
            sink.finish(reason);
        }
    }

    fn fail(&mut self, id: SequenceId, error: GenerateError) {
        if let Some(sink) = self.end(id) {
            sink.fail(error);
        }
    }

    /// Frees the pages before the sink is finished: its reader may submit the next request at once.
    fn end(&mut self, id: SequenceId) -> Option<Sink> {
        self.scheduler.remove(id);
        self.speculator.forget(id);
        let sink = self.sinks.remove(&id)?;
        self.gauges.running.store(self.scheduler.num_running(), Ordering::Relaxed);
        self.gauges.in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(sink)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests;
