//! Samples the tokens of a step, and verifies drafted ones.

use std::time::Instant;

use grammar::ConstraintError;

use super::super::backend::StepError;
use super::super::sink::Sink;
use super::Compute;
use crate::api::{GenerateError, StopReason};
use crate::batch::Logits;
use crate::kernels::parallel::for_rows;
use crate::model::Workspace;
use crate::sched::{SequenceId, StepPlan};

/// A row of the step's logits, and the token sampled from it.
pub(in super::super) struct Draw {
    id: SequenceId,
    /// `None` for the row of a drafted token, which is sampled from once the token is accepted.
    pub(super) sink: Option<Sink>,
    token: Result<Option<u32>, ConstraintError>,
}

impl Compute {
    pub(super) fn forward(
        &mut self,
        plan: &StepPlan,
        workspace: &mut Workspace,
    ) -> Result<(), StepError> {
        let rows = self.backend.forward(&self.batch, workspace)?;
        for chunk in &plan.chunks {
            self.scheduler.mark_computed(chunk);
        }
        // Threads share the rows, so the sampling sinks are taken out of the map meanwhile: first those with
        // whole rows, then those with the argmax only, in the batch's order.
        for wanted in [Logits::Last, Logits::Argmax] {
            for chunk in plan.chunks.iter().filter(|chunk| chunk.samples) {
                if self.wants(chunk.id) == wanted {
                    let mut sink = self.sinks.remove(&chunk.id);
                    if let Some(Sink::Answer(stream)) = &mut sink {
                        stream.add_drafted(chunk.drafted);
                    }
                    self.draws.push(Draw { id: chunk.id, sink, token: Ok(None) });
                    let drafted = || Draw { id: chunk.id, sink: None, token: Ok(None) };
                    self.draws.extend(std::iter::repeat_with(drafted).take(chunk.drafted));
                }
            }
        }
        let (cost, outputs) = (rows.len(), self.backend.config().outputs());
        let (whole, likeliest) = self.draws.split_at_mut(self.batch.logit_rows.len());
        for_rows(whole, rows, outputs, cost, |draw, row| {
            if let Some(Sink::Answer(stream)) = &mut draw.sink {
                draw.token = stream.sample(row);
            }
        });
        for (draw, token) in likeliest.iter_mut().zip(self.backend.likeliest()) {
            draw.token = Ok(*token);
        }
        let mut rows = rows.chunks_exact_mut(outputs);
        let mut draws = std::mem::take(&mut self.draws);
        for draw in draws.drain(..) {
            let row = rows.next().unwrap_or_default();
            let Draw { id, sink, token } = draw;
            match sink {
                Some(sink) => {
                    let embeds = matches!(sink, Sink::Embedding(_));
                    self.sinks.insert(id, sink);
                    if embeds { self.embed(id, row) } else { self.take_token(id, token, row) }
                }
                None => self.verify(id, token, row),
            }
        }
        self.draws = draws;
        for chunk in plan.chunks.iter().filter(|chunk| chunk.drafted > 0) {
            self.speculator.settle(chunk.id);
        }
        self.count_drafts();
        Ok(())
    }

    /// Emits the token after a drafted one, if that was the sequence's next token. The token is `likeliest` if only the
    /// argmax was requested, else it is sampled from `logits` `[vocab]`.
    fn verify(
        &mut self,
        id: SequenceId,
        likeliest: Result<Option<u32>, ConstraintError>,
        logits: &mut [f32],
    ) {
        // False, too, if the sequence has ended.
        if !self.scheduler.accept_drafted(id) {
            return;
        }
        self.speculator.note_accepted(id);
        let token = match self.sinks.get_mut(&id) {
            Some(Sink::Answer(stream)) => {
                stream.add_accepted();
                if logits.is_empty() { likeliest } else { stream.sample(logits) }
            }
            _ => likeliest,
        };
        self.take_token(id, token, logits);
    }

    /// Emits the next token of a sequence, sampled from `logits` `[vocab]`, which are empty if only the
    /// argmax was requested.
    fn take_token(
        &mut self,
        id: SequenceId,
        drawn: Result<Option<u32>, ConstraintError>,
        logits: &[f32],
    ) {
        let token = match drawn {
            Ok(Some(token)) => token,
            Ok(None) => {
                let problem = "the model computed no usable logits".to_owned();
                self.scheduler.discard(id);
                return self.fail(id, GenerateError::Compute(problem));
            }
            Err(error) => return self.fail(id, GenerateError::InvalidRequest(error.to_string())),
        };
        let Some(Sink::Answer(stream)) = self.sinks.get_mut(&id) else { return };
        stream.tick(Instant::now());
        if self.ends.contains(&token) {
            return self.finish(id, StopReason::EndOfTurn);
        }
        match stream.push(token, logits) {
            Ok(Some(reason)) => self.finish(id, reason),
            Ok(None) if self.scheduler.append(id, token) => self.finish(id, StopReason::Length),
            Ok(None) => {}
            Err(error) => self.fail(id, GenerateError::InvalidRequest(error.to_string())),
        }
    }

    /// Ends a sequence with its embedding. `row` is `[hidden]`.
    fn embed(&mut self, id: SequenceId, row: &[f32]) {
        let Some(Sink::Embedding(sink)) = self.sinks.get(&id) else { return };
        match sink.normalized(row) {
            Some(vector) => {
                if let Some(Sink::Embedding(sink)) = self.end(id) {
                    sink.finish(vector);
                }
            }
            None => {
                self.scheduler.discard(id);
                let problem = "the model computed no usable embedding".to_owned();
                self.fail(id, GenerateError::Compute(problem));
            }
        }
    }
}
