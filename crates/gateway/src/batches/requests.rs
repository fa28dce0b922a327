//! [`Requests`]: what the dialect of batches provides.

use futures::future::BoxFuture;
use protocol::{ModelId, TaskId, TaskSnapshot, TenantId};
use queue::Batch;
use serde_json::Value;

use super::Stop;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::state::State;

/// Formats the ended tasks of a request.
pub(crate) type Render = dyn Fn(&[TaskSnapshot]) -> Result<Value, Refusal> + Send + Sync;

/// Reads the requests of a batch, and formats its answers.
pub(crate) trait Requests: Send + Sync {
    /// Returns the model that a request names, or `None` for the default.
    ///
    /// # Errors
    /// If the request must name one and does not.
    fn model<'a>(&self, endpoint: &str, body: &'a Value) -> Result<Option<&'a str>, Refusal>;

    /// Reads a request whose model is resolved.
    ///
    /// # Errors
    /// If it is invalid, or the queue is unavailable.
    fn read<'a>(
        &'a self,
        state: &'a State,
        tenant: &'a TenantId,
        endpoint: &'a str,
        body: &'a Value,
        model: ModelId,
    ) -> BoxFuture<'a, Result<LineRequest, Refusal>>;

    /// Formats the end of a line, as a line of the output file or the error file.
    fn line(&self, id: TaskId, custom_id: &str, end: &LineEnd) -> Value;

    /// Formats the body of an ended batch's webhook.
    fn end_event(&self, batch: &Batch) -> String;
}

/// A valid request of a batch.
pub(crate) struct LineRequest {
    /// Its tasks, at least one.
    pub(crate) orders: Vec<Order>,
    /// Formats them when they have ended.
    pub(crate) render: Box<Render>,
}

impl LineRequest {
    /// Creates a request of one task.
    pub(crate) fn of_one(
        order: Order,
        render: impl Fn(&TaskSnapshot) -> Result<Value, Refusal> + Send + Sync + 'static,
    ) -> Self {
        let render = move |ended: &[TaskSnapshot]| match ended {
            [first, ..] => render(first),
            [] => Err(Refusal::internal("no task has ended")),
        };
        Self { orders: vec![order], render: Box::new(render) }
    }
}

/// The end of a line.
#[derive(Debug)]
pub(crate) enum LineEnd {
    /// It has an answer.
    Answered(Value),
    /// It was refused, or its task failed.
    Refused(Refusal),
    /// The batch stopped before it had ended.
    LeftOut(Stop),
}
