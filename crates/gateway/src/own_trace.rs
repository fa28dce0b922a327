//! The span from which a trace begins that no request causes: of a batch's line, or of a periodic task.

use std::time::{Instant, SystemTime};

use protocol::{TaskId, TraceContext};
use service::Traces;
use service::traces::Span;

/// The submit of such a task.
pub(crate) struct OwnTrace<'a> {
    traces: &'a Traces,
    /// The component, and the name of the span.
    of: (&'static str, &'static str),
    /// The span that the task is a part of; `None` if nobody records the trace.
    pub(crate) context: Option<TraceContext>,
    began: (SystemTime, Instant),
}

impl<'a> OwnTrace<'a> {
    /// Begins a trace of a component, whose first span has this name.
    pub(crate) fn begin(traces: &'a Traces, component: &'static str, name: &'static str) -> Self {
        let context = traces.begin(None).filter(|context| context.sampled);
        Self { traces, of: (component, name), context, began: (SystemTime::now(), Instant::now()) }
    }

    /// Sends the span, once the task is queued.
    pub(crate) fn submitted(&self, task_id: TaskId) {
        if let Some(context) = self.context {
            let (started, began) = self.began;
            let (component, name) = self.of;
            let span = Span::new(context, component, name, (started, started));
            let span = span.lasting(began.elapsed());
            self.traces.send(span.with("qwen_queue.task_id", task_id.to_string()));
        }
    }
}
