//! Writes answers: parts while the batch runs, and at its end the files, which are all parts one after another.

use std::mem;
use std::time::Duration;

use actix_web::web::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{BlobId, Timestamp};
use queue::{Batch, BatchPart, BatchStep, BatchUsage, BlobError, BrokerError, ByteStream, NewBlob};
use tokio::time::Instant;

use super::line::EndedLine;
use super::{OUTPUT, PART, PART_LINES, Trouble, Work, ids};

/// The size from which a part is written.
const PART_BYTES: usize = 4 << 20;
/// The time after which the first parts are written.
const PART_AGE: Duration = Duration::from_secs(2);
/// The number of parts after which that time has doubled, so that slow batches have few parts.
const PARTS_PER_AGE: u32 = 16;
/// The time for which parts are kept after the batch's time is over.
const PART_GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The media type of the files.
const MEDIA_TYPE: &str = "application/jsonl";

/// The lines that have ended since the last part.
pub(super) struct Answers {
    output: Vec<u8>,
    errors: Vec<u8>,
    lines: u32,
    completed: u32,
    usage: BatchUsage,
    /// When they are written at the latest.
    due: Instant,
}

impl Answers {
    /// Starts a part behind `parts` others.
    pub(super) fn behind(parts: usize) -> Self {
        let times = 1 + u32::try_from(parts).unwrap_or(u32::MAX) / PARTS_PER_AGE;
        Self {
            output: Vec::new(),
            errors: Vec::new(),
            lines: 0,
            completed: 0,
            usage: BatchUsage::default(),
            due: Instant::now() + PART_AGE.saturating_mul(times),
        }
    }

    pub(super) fn push(&mut self, line: EndedLine) {
        let file = if line.is_answered { &mut self.output } else { &mut self.errors };
        file.extend_from_slice(&line.text);
        self.lines += 1;
        self.completed += u32::from(line.is_answered);
        self.usage += line.usage;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines >= PART_LINES || self.output.len() + self.errors.len() >= PART_BYTES
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Writes the lines and advances the batch over them. Returns the batch.
    pub(super) async fn write(&mut self, work: &Work, batch: &Batch) -> Result<Batch, Trouble> {
        let part = BatchPart {
            output: put_part(work, mem::take(&mut self.output)).await?,
            errors: put_part(work, mem::take(&mut self.errors)).await?,
        };
        let step = BatchStep::Advance {
            from: batch.done,
            to: batch.done + self.lines,
            completed: self.completed,
            usage: self.usage,
            part,
        };
        let (advanced, _) = work.step(&step).await?;
        // As after a lost reply, it may have advanced before.
        if advanced.done != batch.done + self.lines || advanced.parts.last() != Some(&part) {
            delete_part(work, &part).await;
            return Err(Trouble::Taken);
        }
        *self = Self::behind(advanced.parts.len());
        Ok(advanced)
    }
}

impl Work {
    /// Applies a step to the batch. Returns the batch as it is then, and whether the step changed it.
    pub(super) async fn step(&self, step: &BatchStep) -> Result<(Batch, bool), Trouble> {
        let request = &self.batch.request;
        let stepped = self.state.broker.step_batch(&request.tenant, request.id, step);
        let stepped = self.state.ask(stepped).await?;
        stepped.ok_or_else(|| Trouble::Store("the batch is gone".into()))
    }
}

/// Stores a part of a file, unless it is empty.
async fn put_part(work: &Work, bytes: Vec<u8>) -> Result<Option<BlobId>, Trouble> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let until = work.batch.expires_at + PART_GRACE;
    let ttl = until.as_millis().saturating_sub(Timestamp::now().as_millis());
    let new = NewBlob {
        tenant: work.batch.request.tenant.clone(),
        purpose: PART.to_owned(),
        media_type: MEDIA_TYPE.to_owned(),
        filename: None,
        ttl: Some(Duration::from_millis(ttl).max(PART_GRACE)),
        announced: Some(bytes.len() as u64),
    };
    let body = stream::iter([Ok::<_, BrokerError>(Bytes::from(bytes))]);
    Ok(Some(work.files.put(new, body).await?.id))
}

/// Deletes a part that is not needed any more. If that fails, it expires.
pub(super) async fn delete_part(work: &Work, part: &BatchPart) {
    for id in [part.output, part.errors].into_iter().flatten() {
        if let Err(error) = work.files.delete(&work.batch.request.tenant, id).await {
            tracing::debug!(target: "gateway.batch", "a part is not deleted yet: {error}");
        }
    }
}

/// Writes a file of the parts that `of` selects, unless there are none. Returns its id, which is the same if this
/// is repeated.
pub(super) async fn put_file(
    work: &Work,
    batch: &Batch,
    name: &str,
    of: fn(&BatchPart) -> Option<BlobId>,
) -> Result<Option<BlobId>, Trouble> {
    let parts: Vec<BlobId> = batch.parts.iter().filter_map(of).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let request = &batch.request;
    let at = batch.finalizing_at.or(batch.cancelling_at).unwrap_or(batch.created_at);
    let id = ids::file_id(request.id, at, name);
    if work.files.find(&request.tenant, id).await?.is_some() {
        return Ok(Some(id));
    }
    let mut sources = Vec::with_capacity(parts.len());
    let mut size = 0;
    for part in parts {
        let found = work.files.find(&request.tenant, part).await?;
        let found = found.ok_or_else(|| Trouble::Store(format!("part {part} is missing")))?;
        size += found.blob.size;
        sources.push(found);
    }
    let new = NewBlob {
        tenant: request.tenant.clone(),
        purpose: OUTPUT.to_owned(),
        media_type: MEDIA_TYPE.to_owned(),
        filename: Some(format!("batch_{}_{name}.jsonl", request.id.as_uuid().simple())),
        ttl: request.output_ttl,
        announced: Some(size),
    };
    let pieces = sources.into_iter().map(|part| Ok::<_, BrokerError>(part.read()));
    let bytes: ByteStream = stream::iter(pieces).try_flatten().boxed();
    match work.files.put_as(id, new, bytes).await {
        Ok(blob) => Ok(Some(blob.id)),
        Err(BlobError::Body(error)) => {
            Err(Trouble::Store(format!("a part is unreadable: {error}")))
        }
        Err(error) => Err(error.into()),
    }
}
