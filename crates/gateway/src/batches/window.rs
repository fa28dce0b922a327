//! The lines in progress. They are prepared one after another, run at once, and end in their order. Their number
//! and their memory are bounded, however long the batch is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, TryStreamExt};
use protocol::{Lane, ModelId, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::check::{self, Request};
use super::input::{Line, Lines};
use super::line::{self, EndedLine, Prepared, is_temporary};
use super::{AHEAD, LineEnd, LineRequest, Trouble, WINDOW, Work};
use crate::order::Order;
use crate::refusal::{Code, Refusal};

/// Maximum memory of lines in progress, in KiB: their requests, and their answers as long as they may become. A
/// line that needs more runs alone.
const WINDOW_KIB: usize = 64 * 1024;
/// The time for which a batch waits for models that nobody serves, as while their only worker restarts. It begins
/// with the first of them.
const MODEL_PATIENCE: Duration = Duration::from_secs(30);
/// Maximum number and length of the names that are remembered.
const MODELS: usize = 256;
/// Pause between looking for a model.
const MODEL_PAUSE: Duration = Duration::from_secs(1);

/// Prepares lines in their order.
struct Feeder {
    work: Arc<Work>,
    lines: Lines,
    /// The lines that have ended before; they are skipped.
    done: u32,
    /// The number of the next line among the requests, from 0.
    index: u32,
    /// The models that were looked for. A model that was served once is not looked for again.
    models: HashMap<String, Result<ModelId, Refusal>>,
    /// When to stop waiting for models.
    patient_until: Option<Instant>,
    memory: Arc<Semaphore>,
}

/// Runs the lines behind the first `done`, and returns their ends in their order.
pub(super) fn ends(
    work: Arc<Work>,
    lines: Lines,
    done: u32,
) -> impl Stream<Item = Result<EndedLine, Trouble>> + Send {
    let memory = Arc::new(Semaphore::new(WINDOW_KIB));
    let feeder = Feeder {
        work: Arc::clone(&work),
        lines,
        done,
        index: 0,
        models: HashMap::new(),
        patient_until: None,
        memory,
    };
    stream::try_unfold(feeder, |mut feeder| async move {
        Ok(feeder.next().await?.map(|line| (line, feeder)))
    })
    .map_ok(move |line| line::run(Arc::clone(&work), line))
    .try_buffered(WINDOW)
}

impl Feeder {
    async fn next(&mut self) -> Result<Option<Prepared>, Trouble> {
        loop {
            let Some(line) = self.lines.next().await? else { return Ok(None) };
            let index = self.index;
            self.index += 1;
            if index >= self.done {
                return self.prepare(index, &line).await.map(Some);
            }
        }
    }

    async fn prepare(&mut self, index: u32, line: &Line) -> Result<Prepared, Trouble> {
        let request = check::request(line, &self.work.batch.request.endpoint);
        // The line was checked before.
        let Request { custom_id, body } =
            request.map_err(|problem| Trouble::Store(problem.message))?;
        let may_exist = index - self.done < AHEAD;
        let request = match self.work.stop() {
            Some(stop) if !may_exist => Err(LineEnd::LeftOut(stop)),
            _ => self.read(&body).await?.map_err(LineEnd::Refused),
        };
        let bytes = line.text.as_ref().map_or(0, |text| text.len());
        let share = self.share(bytes, request.as_ref().ok()).await?;
        Ok(Prepared { index, custom_id, request, may_exist, share })
    }

    /// Reads a request.
    async fn read(
        &mut self,
        body: &serde_json::Value,
    ) -> Result<Result<LineRequest, Refusal>, Trouble> {
        let work = Arc::clone(&self.work);
        let endpoint = &work.batch.request.endpoint;
        let named = match work.requests.model(endpoint, body) {
            Ok(named) => named.unwrap_or_default().to_owned(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let model = match self.model(named).await? {
            Ok(model) => model,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let allowed = &work.batch.request.models;
        if !allowed.is_empty() && !allowed.contains(&model) {
            return Ok(Err(Refusal::model_not_allowed(&model, allowed)));
        }
        let tenant = &work.batch.request.tenant;
        match work.requests.read(&work.state, tenant, endpoint, body, model).await {
            Ok(mut request) => {
                request.orders.iter_mut().for_each(|order| queue_up(&work, order));
                Ok(Ok(request))
            }
            Err(refusal) if is_temporary(&refusal) => Err(refusal.into()),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Returns the model of this name. One that nobody serves is waited for.
    async fn model(&mut self, named: String) -> Result<Result<ModelId, Refusal>, Trouble> {
        if let Some(known) = self.models.get(&named) {
            return Ok(known.clone());
        }
        let found = loop {
            match self.work.state.resolve(Some(&named)).await {
                Err(refusal) if is_temporary(&refusal) => return Err(refusal.into()),
                Err(refusal)
                    if refusal.code == Code::Invalid
                        && self.work.stop().is_none()
                        && Instant::now()
                            < *self
                                .patient_until
                                .get_or_insert_with(|| Instant::now() + MODEL_PATIENCE) =>
                {
                    sleep(MODEL_PAUSE).await;
                }
                other => break other,
            }
        };
        if self.models.len() < MODELS && named.len() <= MODELS {
            self.models.insert(named, found.clone());
        }
        Ok(found)
    }

    /// Waits for the memory that a line needs.
    async fn share(
        &mut self,
        bytes: usize,
        request: Option<&LineRequest>,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Trouble> {
        let answers = request.into_iter().flat_map(|request| &request.orders).map(answer_bytes);
        let kib = (2 * bytes + answers.sum::<usize>()) / 1024 + 1;
        let permits = u32::try_from(kib.min(WINDOW_KIB)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory);
        memory
            .acquire_many_owned(permits)
            .await
            .map_err(|closed| Trouble::Store(closed.to_string()))
    }
}

/// Queues an order behind interactive ones, until the batch's time is over.
fn queue_up(work: &Work, order: &mut Order) {
    let left = work.batch.expires_at.as_millis().saturating_sub(Timestamp::now().as_millis());
    order.queueing.lane = Some(Lane::Batch);
    order.queueing.expires_in = Some(Duration::from_millis(left.max(1)));
}

/// Returns the size that the answer to an order may have.
fn answer_bytes(order: &Order) -> usize {
    /// Bytes of a token's text.
    const TOKEN: usize = 8;
    /// Bytes of a token with its log probability.
    const LOGPROB: usize = 96;
    /// Bytes of an embedding.
    const EMBEDDING: usize = 48 * 1024;
    if let protocol::TaskKind::Embed { inputs, .. } = &order.kind {
        return inputs.len() * EMBEDDING;
    }
    let logprobs = order.sampling.logprobs.map_or(0, |top| (top as usize + 1) * LOGPROB);
    usize::from(order.n) * order.max_tokens as usize * (TOKEN + logprobs)
}
