//! [`Attended`]: a task whose client waits for it, so that nobody wants it once the client is gone.

use std::sync::Arc;

use protocol::TaskId;
use queue::Submitted;

use crate::state::State;

/// Cancels its task when it is dropped, unless the task was released. A handler or a response body
/// that waits for a task holds one, because both are dropped when the client disconnects.
pub(crate) struct Attended {
    state: Arc<State>,
    /// `None` if there is nothing to cancel.
    task_id: Option<TaskId>,
}

impl Attended {
    /// Attends a task that was just submitted. A task of an earlier, identical submit is never
    /// cancelled: another client may wait for it.
    pub(crate) fn new(state: &Arc<State>, submitted: &Submitted) -> Self {
        let task_id = submitted.created.then_some(submitted.task_id);
        Self { state: Arc::clone(state), task_id }
    }

    /// Lets the task go on without a client.
    pub(crate) fn release(&mut self) {
        self.task_id = None;
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        let (Some(task_id), Ok(runtime)) = (self.task_id, tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let state = Arc::clone(&self.state);
        runtime.spawn(async move {
            if let Err(error) = state.ask(state.broker.cancel(task_id)).await {
                tracing::warn!(
                    target: "gateway.cancel", %task_id,
                    "the client left, but its task could not be cancelled: {error}"
                );
            }
        });
    }
}
