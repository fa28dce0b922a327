//! [`Wait`]: the wait of a request for the end of the task that it queued, and the head of its response.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use protocol::{TaskId, TaskSnapshot};
use queue::Submitted;

use crate::follow::{self, Waited};
use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::replies::{ResultReply, StatusReply};
use crate::reuse;
use crate::state::State;
use crate::submit::Accepted;
use crate::validate;

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";
/// The response header that marks the task of an earlier, identical submit.
const REPLAYED: &str = "idempotent-replayed";

/// How long a request waits for the end of its task.
pub(crate) struct Wait {
    /// What the client prefers, in seconds.
    preferred: Option<u32>,
    seconds: u32,
}

impl Wait {
    /// Waits as long as the client prefers; not at all if it does not say.
    pub(crate) fn as_preferred(request: &HttpRequest) -> Self {
        let preferred = validate::preferred_wait(preferences(request));
        Self { preferred, seconds: preferred.unwrap_or(0) }
    }

    /// Waits as long as the client prefers. If it does not say, waits as long as a request may be silent
    /// (`SYNC_SILENT_WAIT`), unless the client prefers an asynchronous response.
    pub(crate) fn unless_asynchronous(request: &HttpRequest, state: &State) -> Self {
        let asked = Self::as_preferred(request);
        let is_asynchronous =
            validate::asynchronous(&preferences(request).collect::<Vec<_>>()).is_some();
        if asked.preferred.is_some() || is_asynchronous {
            return asked;
        }
        let seconds = u32::try_from(state.options.silent_wait.as_secs()).unwrap_or(u32::MAX);
        Self { preferred: None, seconds }
    }

    /// Waits for the end of a task. Returns `None` if the wait ends before it.
    pub(crate) async fn for_end(
        &self,
        state: &State,
        request: &HttpRequest,
        task_id: TaskId,
    ) -> Result<Option<Box<TaskSnapshot>>, Refusal> {
        if self.seconds == 0 {
            return Ok(None);
        }
        let patience = Duration::from_secs(u64::from(self.seconds));
        Ok(match follow::for_end(state, &ClientEnd::of(request), task_id, patience).await? {
            Waited::Ended(snapshot) => Some(snapshot),
            Waited::NotYet | Waited::HungUp => None,
        })
    }

    /// Waits for the end of a task, and responds with its result, or with its status if the wait ends before it.
    pub(crate) async fn for_result(
        &self,
        state: &State,
        request: &HttpRequest,
        accepted: Accepted,
    ) -> Result<HttpResponse, Refusal> {
        let Accepted { submitted, warnings, .. } = accepted;
        let ended = self.for_end(state, request, submitted.task_id).await?;
        let answer = |response| self.head(response, &submitted);
        Ok(match ended.as_deref().and_then(ResultReply::of) {
            Some(result) => {
                let mut response = answer(HttpResponse::Ok());
                if let Some(status) = reuse::status(ended.as_deref()) {
                    response.insert_header(status);
                }
                response.json(result.with_warnings(warnings))
            }
            None => {
                let status = StatusReply::submitted(&submitted);
                answer(HttpResponse::Accepted()).json(status.with_warnings(warnings))
            }
        })
    }

    /// Adds the headers of a response.
    pub(crate) fn head(
        &self,
        mut response: HttpResponseBuilder,
        submitted: &Submitted,
    ) -> HttpResponseBuilder {
        response.insert_header((LOCATION, format!("/result/{}", submitted.task_id)));
        if let Some(seconds) = self.preferred {
            response.insert_header((PREFERENCE_APPLIED, format!("wait={seconds}")));
        }
        if !submitted.created {
            response.insert_header((REPLAYED, "true"));
        }
        response
    }
}

/// Returns the values of the request's `Prefer` headers.
fn preferences(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(PREFER);
    headers.filter_map(|value| value.to_str().ok())
}
