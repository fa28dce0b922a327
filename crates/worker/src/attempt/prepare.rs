//! Reads the images and videos of a task's prompt and gives the prompt to the engine, which may take as long as the answer. The
//! task can be cancelled meanwhile.

use std::time::Instant;

use engine::Engine;
use engine::api::{GenerateError, Request};
use protocol::{Outcome, TaskError};
use service::shutdown::CancellationToken;
use skills::marks::Picture;

use super::verdict::{Verdict, failed};
use super::{Attempt, End};
use crate::{measure, translate};

/// Tells the engine that nobody waits for a prompt any more.
pub(super) type GivenUp<'a> = &'a dyn Fn() -> bool;

/// What the engine has been given.
pub(super) struct Prepared<T> {
    /// What came of it.
    pub(super) submitted: T,
    /// The sizes of the prompt's images and videos, in order.
    pub(super) pictures: Vec<Picture>,
}

/// Calls `submit` with the request for each answer, on a thread that may wait for the engine.
///
/// # Errors
/// Returns the attempt's end if it ends before.
pub(super) async fn run<T: Send + 'static>(
    attempt: &Attempt<'_>,
    adapter: Option<String>,
    submit: impl FnOnce(&Engine, &[Request], GivenUp<'_>) -> Result<T, GenerateError> + Send + 'static,
) -> Result<Prepared<T>, (Verdict, End)> {
    let claimed = attempt.claimed;
    let visuals = claimed.task.prompt.visuals().len();
    // Text takes no time that counts; the engine checks the deadline itself.
    let late = async {
        match visuals {
            0 => std::future::pending().await,
            _ => tokio::time::sleep_until(attempt.deadline.into()).await,
        }
    };
    tokio::select! {
        submitted = read_and_submit(attempt, adapter, submit) => match submitted {
            Ok(Ok(submitted)) => Ok(submitted),
            Ok(Err(error)) => Err(failed(claimed, &error)),
            Err(error) => Err((Verdict::of_failure(claimed, error), End::Settled)),
        },
        () = attempt.cancel.cancelled() => Err((Verdict::Finish(Outcome::CANCELLED), End::Settled)),
        () = late => {
            let progress = format!("reading its {visuals} images and videos: send fewer or smaller ones");
            let outcome = Outcome::Failed(translate::out_of_time(&claimed.task, &progress));
            Err((Verdict::Finish(outcome), End::Settled))
        }
        withdrawn = attempt.withdrawn() => Err(withdrawn),
    }
}

async fn read_and_submit<T: Send + 'static>(
    attempt: &Attempt<'_>,
    adapter: Option<String>,
    submit: impl FnOnce(&Engine, &[Request], GivenUp<'_>) -> Result<T, GenerateError> + Send + 'static,
) -> Result<Result<Prepared<T>, GenerateError>, TaskError> {
    let Attempt { worker, engine, claimed, deadline, .. } = *attempt;
    let read = worker.visuals.read(engine, &claimed.task).await?;
    let (images, pictures): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let request = |choice| {
        let recommended = engine.sampling_defaults();
        let request =
            translate::request(&claimed.task, choice, images.clone(), recommended, deadline);
        Request { adapter: adapter.clone(), ..request }
    };
    let requests: Vec<Request> = (0..claimed.task.choices()).map(request).collect();
    // Images that wait to be encoded leave the engine's queue when this future is dropped.
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    let engine = engine.clone();
    // Tokenizing and encoding take long, so they must not block the threads that renew leases.
    let submit = move || submit(&engine, &requests, &|| given_up.is_cancelled());
    let began = Instant::now();
    let submitted = tokio::task::spawn_blocking(submit).await;
    if !pictures.is_empty() && matches!(submitted, Ok(Ok(_))) {
        measure::images_prepared(claimed, began.elapsed());
        attempt.phases.encoded(began);
    }
    Ok(match submitted {
        Ok(submitted) => submitted.map(|submitted| Prepared { submitted, pictures }),
        Err(panic) => Err(GenerateError::Compute(panic.to_string())),
    })
}
