//! Waits for a task and responds with its whole result.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::stream;
use protocol::TaskSnapshot;
use queue::Submitted;
use serde_json::Value;

use super::{Attended, Waited, for_end};
use crate::dialect::Dialects;
use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::state::State;

/// The position of a waiting task in its model's queue when it was submitted.
const POSITION: HeaderName = HeaderName::from_static("x-queue-position");
/// The time in which a waiting task was likely to end when it was submitted, in seconds.
const ETA: HeaderName = HeaderName::from_static("x-queue-eta");
/// The task, for the native API's routes.
const TASK: HeaderName = HeaderName::from_static("x-task-id");
/// The time from the request to the response, in milliseconds.
const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");

/// Formats an ended task.
type Render = dyn Fn(&TaskSnapshot) -> Result<Value, Refusal>;

/// What the headers of a response tell about its task.
pub(crate) struct Head {
    pub(crate) submitted: Submitted,
    /// When the request came.
    began: Instant,
}

impl Head {
    /// Starts a response with the headers.
    pub(crate) fn response(&self) -> HttpResponseBuilder {
        let mut head = HttpResponse::Ok();
        head.insert_header((TASK, self.submitted.task_id.to_string()))
            .insert_header((PROCESSING, self.began.elapsed().as_millis().to_string()));
        if let Some(estimate) = &self.submitted.estimate {
            head.insert_header((POSITION, estimate.position.to_string()));
            if let Some(eta) = &estimate.eta {
                head.insert_header((ETA, format!("{:.1}", eta.latest_s)));
            }
        }
        head
    }
}

/// A request that waits for its task.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) head: Head,
    pub(crate) client: ClientEnd,
    pub(crate) attended: Attended,
    /// Formats a refusal that comes after the status was sent.
    dialects: Option<Data<Dialects>>,
    path: String,
}

impl Call {
    pub(crate) fn new(
        request: &HttpRequest,
        state: &Arc<State>,
        submitted: Submitted,
        began: Instant,
    ) -> Self {
        Self {
            state: Arc::clone(state),
            attended: Attended::new(state, &submitted),
            head: Head { submitted, began },
            client: ClientEnd::of(request),
            dialects: request.app_data::<Data<Dialects>>().cloned(),
            path: request.path().to_owned(),
        }
    }

    /// Formats a refusal as the body that the request's dialect gives it.
    pub(crate) fn shape(&self, refusal: &Refusal) -> Value {
        self.dialects.as_ref().map_or(Value::Null, |dialects| dialects.body(&self.path, refusal))
    }

    /// Waits for the task's end and responds with what `render` makes of it. If that takes longer
    /// than [`crate::Options::silent_wait`], sends the status and from then on a line end every few
    /// seconds, so that proxies keep the connection; JSON ignores it. The task is cancelled if the
    /// client disconnects.
    pub(crate) async fn respond(
        mut self,
        render: impl Fn(&TaskSnapshot) -> Result<Value, Refusal> + 'static,
    ) -> Result<HttpResponse, Refusal> {
        let patience = self.state.options.silent_wait;
        match self.wait(patience).await? {
            Some(snapshot) => {
                let body = render(&snapshot)?;
                Ok(self.head.response().json(body))
            }
            None => Ok(self
                .head
                .response()
                .insert_header((CONTENT_TYPE, "application/json"))
                .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
                .streaming(self.late(Box::new(render)))),
        }
    }

    /// Waits for the task's end, for at most `patience`.
    async fn wait(&mut self, patience: Duration) -> Result<Option<Box<TaskSnapshot>>, Refusal> {
        match for_end(&self.state, &self.client, self.head.submitted.task_id, patience).await {
            Waited::Ended(snapshot) => {
                self.attended.release();
                Ok(Some(snapshot))
            }
            Waited::HungUp => Err(Refusal::client_gone()),
            Waited::NotYet if *self.state.stopping.borrow() => {
                Err(Refusal::unavailable("the gateway stops"))
            }
            Waited::NotYet => Ok(None),
        }
    }

    /// The body of a response whose status is sent before the task has ended.
    fn late(
        self,
        render: Box<Render>,
    ) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + 'static {
        stream::unfold(Some((self, render)), |waiting| async move {
            let (mut call, render) = waiting?;
            let pause = call.state.options.keep_alive;
            let body = match call.wait(pause).await {
                Ok(None) => return Some((Ok(Bytes::from_static(b"\n")), Some((call, render)))),
                Ok(Some(snapshot)) => render(&snapshot),
                Err(refusal) => Err(refusal),
            };
            let body = body.unwrap_or_else(|refusal| call.shape(&refusal));
            Some((Ok(Bytes::from(body.to_string())), None))
        })
    }
}
