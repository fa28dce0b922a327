//! Takes one batch through its states.

use std::pin::pin;
use std::sync::Arc;

use futures::TryStreamExt;
use queue::{Batch, BatchProblem, BatchState, BatchStep, FoundBlob};
use tokio::time::sleep_until;

use super::answers::{Answers, delete_part, put_file};
use super::check::{Checker, problem};
use super::ended::{ended, notify};
use super::input::Lines;
use super::line::cancel_ahead;
use super::{MAX_INPUT, Stop, Trouble, Work, window};

/// Runs a batch to its end.
pub(super) async fn run(work: &Arc<Work>) -> Result<(), Trouble> {
    let mut batch = work.batch.clone();
    while !batch.is_settled() {
        if batch.state.is_end() {
            batch = notify(work, &batch).await?;
            continue;
        }
        let step = match batch.state {
            BatchState::Validating if work.stop() == Some(Stop::Cancelled) => BatchStep::Cancel,
            BatchState::Validating if work.stop() == Some(Stop::Expired) => {
                BatchStep::Finalize { expired: true }
            }
            BatchState::Validating => match check(work).await? {
                Ok(total) => BatchStep::Start { total },
                Err(problems) => BatchStep::Refuse { problems },
            },
            BatchState::InProgress | BatchState::Cancelling if batch.done < batch.total => {
                match process(work, batch.clone()).await? {
                    Some(processed) => {
                        batch = processed;
                        match batch.state {
                            BatchState::InProgress => {
                                BatchStep::Finalize { expired: work.stop() == Some(Stop::Expired) }
                            }
                            _ => continue,
                        }
                    }
                    None => {
                        cancel_ahead(work, &batch).await?;
                        match batch.state {
                            BatchState::Cancelling => files(work, &batch).await?,
                            _ => BatchStep::Refuse { problems: vec![missing(work)] },
                        }
                    }
                }
            }
            BatchState::InProgress => BatchStep::Finalize { expired: false },
            _ => files(work, &batch).await?,
        };
        let before = batch;
        let (stepped, is_ours) = work.step(&step).await?;
        batch = stepped;
        if let (BatchStep::Start { total }, BatchState::InProgress) = (&step, batch.state) {
            let request = &batch.request;
            tracing::info!(
                target: "gateway.batch",
                batch_id = %request.id, tenant = %request.tenant,
                "batch begins: {total} lines for {}", request.endpoint
            );
        }
        if batch.state.is_end() && is_ours {
            ended(&batch);
            for part in &before.parts {
                delete_part(work, part).await;
            }
        }
    }
    Ok(())
}

/// Returns the file of requests, or `None` if it was deleted.
async fn input(work: &Work) -> Result<Option<FoundBlob>, Trouble> {
    let request = &work.batch.request;
    let found = work.state.blobs.find(&request.tenant, request.input);
    Ok(work.state.ask(found).await?)
}

fn lines(work: &Work, input: &FoundBlob) -> Lines {
    let options = &work.state.options;
    let limit = options.max_chat_bytes().saturating_add(options.max_inline_images());
    Lines::new(input.read(), limit)
}

fn missing(work: &Work) -> BatchProblem {
    let name = work.batch.request.input.as_uuid().simple();
    let message =
        format!("The input file 'file-{name}' was deleted or has expired before all lines ran.");
    problem("input_file_not_found", message, Some("input_file_id"), None)
}

/// Checks the lines. Returns their number, or their problems.
async fn check(work: &Work) -> Result<Result<u32, Vec<BatchProblem>>, Trouble> {
    let Some(input) = input(work).await? else { return Ok(Err(vec![missing(work)])) };
    if input.blob.size > MAX_INPUT {
        let message = format!("The file may have at most {MAX_INPUT} bytes.");
        return Ok(Err(vec![problem("file_too_large", message, Some("input_file_id"), None)]));
    }
    let mut checker = Checker::new(&work.batch.request.endpoint);
    let mut lines = lines(work, &input);
    while let Some(line) = lines.next().await? {
        if !checker.take(&line) {
            break;
        }
        if checker.total.is_multiple_of(64) {
            tokio::task::yield_now().await; // checking takes time
        }
    }
    Ok(checker.finish())
}

/// Runs the lines that have not ended, and returns the batch when all have. `None` if its file was deleted.
async fn process(work: &Arc<Work>, mut batch: Batch) -> Result<Option<Batch>, Trouble> {
    let Some(input) = input(work).await? else { return Ok(None) };
    let mut ends = pin!(window::ends(Arc::clone(work), lines(work, &input), batch.done));
    let mut answers = Answers::behind(batch.parts.len());
    loop {
        tokio::select! {
            end = ends.try_next() => match end? {
                Some(line) => {
                    answers.push(line);
                    if answers.is_full() {
                        batch = answers.write(work, &batch).await?;
                    }
                }
                None => break,
            },
            () = work.make_room.cancelled() => {
                if !answers.is_empty() {
                    answers.write(work, &batch).await?;
                }
                return Err(Trouble::MadeRoom);
            }
            () = sleep_until(answers.due()), if !answers.is_empty() => {
                batch = answers.write(work, &batch).await?;
            }
        }
    }
    if !answers.is_empty() {
        batch = answers.write(work, &batch).await?;
    }
    if batch.done < batch.total {
        return Err(Trouble::Store("the input file ends before its last line".into()));
    }
    Ok(Some(batch))
}

/// Writes the files, and returns the step that ends the batch with them.
async fn files(work: &Work, batch: &Batch) -> Result<BatchStep, Trouble> {
    Ok(BatchStep::End {
        output: put_file(work, batch, "output", |part| part.output).await?,
        errors: put_file(work, batch, "errors", |part| part.errors).await?,
    })
}
