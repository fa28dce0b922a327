//! Waits for tasks and responds with their whole results.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::stream;
use protocol::{BlobId, Outcome, TaskId, TaskSnapshot};
use queue::{Idempotency, Submitted};
use serde_json::Value;

use super::{Attended, Waited, for_end};
use crate::dialect::Dialects;
use crate::extract::Submitter;
use crate::hangup::ClientEnd;
use crate::middleware::Notes;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::replies::StatusReply;
use crate::reuse;
use crate::state::State;
use crate::submit::{Accepted, submit};
use crate::validate;

/// The position of a waiting task in its model's queue when it was submitted.
const POSITION: HeaderName = HeaderName::from_static("x-queue-position");
/// The time in which a waiting task was likely to end when it was submitted, in seconds.
const ETA: HeaderName = HeaderName::from_static("x-queue-eta");
/// The task, for the native API's routes.
const TASK: HeaderName = HeaderName::from_static("x-task-id");
/// The time from the request to the response, in milliseconds.
const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
/// The preferences of the request that the response follows (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Formats ended tasks.
type Render = dyn Fn(&[TaskSnapshot]) -> Result<Value, Refusal>;

/// The data of a response's headers about its task.
pub(crate) struct Head {
    pub(crate) submitted: Submitted,
    /// The blobs of the task's images, in the order of the request.
    pub(crate) images: Vec<BlobId>,
    /// When the request came.
    began: Instant,
}

impl Head {
    /// Starts a response with the headers.
    pub(crate) fn response(&self) -> HttpResponseBuilder {
        self.response_with(StatusCode::OK)
    }

    /// Starts a response with the results of these tasks.
    fn ended(&self, ended: &[TaskSnapshot]) -> HttpResponseBuilder {
        let mut head = self.response();
        if let Some(status) = reuse::status(ended) {
            head.insert_header(status);
        }
        head
    }

    fn response_with(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut head = HttpResponse::build(status);
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

/// Returns the values of the request's `Prefer` headers.
fn preferences(request: &HttpRequest) -> Vec<&str> {
    let headers = request.headers().get_all("prefer");
    headers.filter_map(|value| value.to_str().ok()).collect()
}

/// A request that waits for its task, or for several.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) head: Head,
    pub(crate) client: ClientEnd,
    pub(crate) attended: Attended,
    /// The tasks after the first, in order, as far as [`Self::respond_all`] does not wait for them yet.
    pub(crate) others: VecDeque<(TaskId, Attended)>,
    /// Whether a task that did not complete leaves the others going.
    waits_for_each: bool,
    /// The client's wait, if it prefers an asynchronous response.
    asynchronous: Option<Duration>,
    /// The task that is waited for.
    task_id: TaskId,
    /// The tasks that have ended, in order.
    ended: Vec<TaskSnapshot>,
    /// Formats a refusal that comes after the status was sent.
    dialects: Option<Data<Dialects>>,
    path: String,
}

impl Call {
    /// Queues a task for a request, which came at `began` and waits for it.
    ///
    /// # Errors
    /// If the task is refused.
    pub(crate) async fn submit(
        request: &HttpRequest,
        state: &Arc<State>,
        caller: &Submitter,
        order: Order,
        idempotency: Option<Idempotency>,
        began: Instant,
    ) -> Result<Self, Refusal> {
        // The native routes, which have the result then, show one answer.
        let is_shown = order.n == 1 && order.kind.is_generate();
        let Accepted { submitted, images, .. } = submit(state, caller, order, idempotency).await?;
        Notes::of(&mut request.extensions_mut()).task_id = Some(submitted.task_id);
        let mut call = Self::new(request, state, submitted, began);
        call.head.images = images;
        call.asynchronous = call.asynchronous.filter(|_| is_shown);
        Ok(call)
    }

    /// Waits for a task that was submitted for the request, whatever the client prefers.
    pub(crate) fn waiting(
        request: &HttpRequest,
        state: &Arc<State>,
        submitted: Submitted,
        began: Instant,
    ) -> Self {
        Self { asynchronous: None, ..Self::new(request, state, submitted, began) }
    }

    fn new(
        request: &HttpRequest,
        state: &Arc<State>,
        submitted: Submitted,
        began: Instant,
    ) -> Self {
        Self {
            state: Arc::clone(state),
            asynchronous: validate::asynchronous(&preferences(request)),
            attended: Attended::new(state, &submitted),
            others: VecDeque::new(),
            waits_for_each: false,
            task_id: submitted.task_id,
            ended: Vec::new(),
            head: Head { submitted, images: Vec::new(), began },
            client: ClientEnd::of(request),
            dialects: request.app_data::<Data<Dialects>>().cloned(),
            path: request.path().to_owned(),
        }
    }

    /// Returns whether the client prefers a response without the answer (`Prefer: respond-async`),
    /// which [`Self::respond`] sends then.
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.asynchronous.is_some() && self.others.is_empty()
    }

    /// Formats a refusal as the body that the request's dialect gives it.
    pub(crate) fn shape(&self, refusal: &Refusal) -> Value {
        self.dialects.as_ref().map_or(Value::Null, |dialects| dialects.body(&self.path, refusal))
    }

    /// Waits for another task too.
    pub(crate) fn join(&mut self, submitted: &Submitted) {
        let attended = Attended::new(&self.state, submitted);
        self.others.push_back((submitted.task_id, attended));
    }

    /// Waits for the task's end and responds with what `render` makes of it. If that takes longer
    /// than [`crate::Options::silent_wait`], sends the status and from then on a line end every few
    /// seconds, so that proxies keep the connection; JSON ignores it. The task is cancelled if the
    /// client disconnects. A client that prefers an asynchronous response gets the task's id instead.
    pub(crate) async fn respond(
        self,
        render: impl Fn(&TaskSnapshot) -> Result<Value, Refusal> + 'static,
    ) -> Result<HttpResponse, Refusal> {
        self.respond_all(move |ended| match ended {
            [first, ..] => render(first),
            [] => Err(Refusal::internal("no task has ended")),
        })
        .await
    }

    /// Like [`Self::respond`], for all tasks, whether they completed or not.
    pub(crate) async fn respond_each(
        mut self,
        render: impl Fn(&[TaskSnapshot]) -> Result<Value, Refusal> + 'static,
    ) -> Result<HttpResponse, Refusal> {
        self.waits_for_each = true;
        self.respond_all(render).await
    }

    /// Like [`Self::respond`], for all tasks. After one that did not complete, the others are
    /// cancelled; it is the last that `render` gets.
    pub(crate) async fn respond_all(
        mut self,
        render: impl Fn(&[TaskSnapshot]) -> Result<Value, Refusal> + 'static,
    ) -> Result<HttpResponse, Refusal> {
        if let Some(patience) = self.asynchronous.filter(|_| self.others.is_empty()) {
            return self.respond_later(patience, render).await;
        }
        let patience = self.state.options.silent_wait;
        if self.have_ended(patience).await? {
            let body = render(&self.ended)?;
            return Ok(self.head.ended(&self.ended).json(body));
        }
        Ok(self
            .head
            .response()
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
            .streaming(self.late(Box::new(render))))
    }

    /// Responds with the answer if the task ends within `patience`, or else says where it will be. The
    /// task goes on if the client leaves.
    async fn respond_later(
        mut self,
        patience: Duration,
        render: impl Fn(&[TaskSnapshot]) -> Result<Value, Refusal>,
    ) -> Result<HttpResponse, Refusal> {
        self.attended.release();
        let applied = match patience.as_secs() {
            0 => "respond-async".to_owned(),
            seconds => format!("respond-async, wait={seconds}"),
        };
        let task_id = self.task_id;
        let waited = for_end(&self.state, &self.client, task_id, patience).await?;
        if let Waited::Ended(snapshot) = waited {
            let ended = [*snapshot];
            let body = render(&ended)?;
            let mut response = self.head.ended(&ended);
            return Ok(response.insert_header((PREFERENCE_APPLIED, applied)).json(body));
        }
        Ok(self
            .head
            .response_with(StatusCode::ACCEPTED)
            .insert_header((LOCATION, format!("/result/{task_id}")))
            .insert_header((PREFERENCE_APPLIED, applied))
            .json(StatusReply::submitted(&self.head.submitted)))
    }

    /// Waits for the end of all tasks, or of one that did not complete, for at most `patience`.
    async fn have_ended(&mut self, patience: Duration) -> Result<bool, Refusal> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match for_end(&self.state, &self.client, self.task_id, left).await? {
                Waited::Ended(snapshot) => {
                    self.attended.release();
                    let goes_on = self.waits_for_each
                        || matches!(snapshot.outcome, Some(Outcome::Completed(_)));
                    self.ended.push(*snapshot);
                    match self.others.pop_front().filter(|_| goes_on) {
                        Some((task_id, attended)) => {
                            self.task_id = task_id;
                            self.attended = attended;
                        }
                        None => return Ok(true),
                    }
                }
                Waited::HungUp => return Err(Refusal::client_gone()),
                Waited::NotYet if *self.state.stopping.borrow() => {
                    return Err(Refusal::unavailable("the gateway stops"));
                }
                Waited::NotYet if Instant::now() < deadline => {
                    return Err(Refusal::internal("the task disappeared"));
                }
                Waited::NotYet => return Ok(false),
            }
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
            let body = match call.have_ended(pause).await {
                Ok(false) => return Some((Ok(Bytes::from_static(b"\n")), Some((call, render)))),
                Ok(true) => render(&call.ended),
                Err(refusal) => Err(refusal),
            };
            let body = body.unwrap_or_else(|refusal| call.shape(&refusal));
            Some((Ok(Bytes::from(body.to_string())), None))
        })
    }
}
