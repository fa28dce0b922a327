//! Attaches the images and videos of a request to its task: checks all of them, stores those that are not stored yet, and names
//! their blobs in the prompt.
//!
//! A blob that is stored for a request belongs to it alone until the task is accepted ([`Attached`]): if the request is
//! refused, the blob is deleted. From then on it is kept until it expires, and later requests with the same image share
//! it.

mod lifetime;

use std::time::Duration;

use actix_web::web::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{BlobId, Part, Prompt, TenantId, VisualKind};
use queue::{BlobError, BlobStore, BrokerError, ContentHash, NewBlob};
use tokio::time::timeout;

use crate::images::{Checked, Size, Stored};
use crate::order::{Order, OrderImages, PendingImage, Source};
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::FieldError;
use crate::validate::images::not_taken;

/// The purpose of the blobs of images that requests have in themselves, which hides them.
pub(crate) const IMAGE: &str = ".image";
/// The number of images of a request that are fetched and checked at once.
const AT_ONCE: usize = 4;

/// The images of a request that are stored, in the order of the request.
#[derive(Default)]
pub(crate) struct Attached {
    /// The blob of each image.
    pub(crate) blobs: Vec<BlobId>,
    /// Those that were stored for this request.
    new: Vec<(ContentHash, Stored)>,
    /// Where the new ones are, until they are kept.
    owner: Option<(BlobStore, TenantId)>,
}

impl Attached {
    /// Keeps the blobs, whatever becomes of the request: until they expire.
    pub(crate) fn keep(&mut self) -> Kept {
        Kept { new: std::mem::take(&mut self.new), owner: self.owner.take() }
    }
}

impl Drop for Attached {
    /// Deletes the new blobs: the request was refused, or its client left.
    fn drop(&mut self) {
        Kept { new: std::mem::take(&mut self.new), owner: self.owner.take() }.delete();
    }
}

/// New blobs that are kept while it is not known whether a task needs them.
pub(crate) struct Kept {
    new: Vec<(ContentHash, Stored)>,
    owner: Option<(BlobStore, TenantId)>,
}

impl Kept {
    /// Lets later requests share the blobs: the task was accepted.
    pub(crate) fn share(self, state: &State) {
        let Some((_, tenant)) = &self.owner else { return };
        for (hash, stored) in self.new {
            state.images.remember_stored(tenant, hash, stored);
        }
    }

    /// Deletes the blobs: no task has them. If that fails, they expire.
    pub(crate) fn delete(self) {
        let Some((blobs, tenant)) = self.owner else { return };
        if self.new.is_empty() {
            return;
        }
        tokio::spawn(async move {
            for (_, stored) in self.new {
                if let Err(error) = blobs.delete(&tenant, stored.blob).await {
                    tracing::debug!(target: "gateway.images", "an image is not deleted yet: {error}");
                }
            }
        });
    }
}

/// Attaches the images of an order. Returns at once if it has none that are pending.
///
/// # Errors
/// If the model takes no images, one of them can't be used, or the store has no room or is unavailable.
pub(crate) async fn attach(
    state: &State,
    tenant: &TenantId,
    order: &mut Order,
) -> Result<Attached, Refusal> {
    let OrderImages { pending, room, .. } = std::mem::take(&mut order.images);
    let Some(first) = pending.first() else { return Ok(Attached::default()) };
    if !state.registry.may_take_images(&order.model).await? {
        let loc = first.loc.clone();
        let (kind, message) = ("value_error", not_taken(first.kind, order.model.as_str()));
        return Err(Refusal::invalid(vec![FieldError { loc, message, kind }]));
    }
    let ttl = lifetime::limit(order);
    let found = load(state, tenant, pending).await?;
    let mut attached = Attached {
        blobs: Vec::with_capacity(found.len()),
        new: Vec::new(),
        owner: Some((state.blobs.clone(), tenant.clone())),
    };
    for image in found {
        let (blob, size) = match image {
            Loaded::Blob { id, size, loc } => {
                let kept = state.ask(state.blobs.touch(tenant, id, ttl)).await?;
                if kept.is_none() {
                    return Err(Refusal::invalid(vec![no_blob(loc, id)]));
                }
                (id, size)
            }
            Loaded::Bytes { kind, checked, loc } => {
                store(state, tenant, ttl, kind, checked, &mut attached)
                    .await?
                    .map_err(|error| no_room(loc, kind, &error))?
            }
        };
        attached.blobs.push(blob);
        order.images.sizes.extend(size);
    }
    drop(room);
    name(&mut order.prompt, &attached.blobs);
    Ok(attached)
}

/// An image that passed the check, or passed it before.
enum Loaded {
    Bytes { kind: VisualKind, checked: Checked, loc: Vec<crate::loc::Loc> },
    Blob { id: BlobId, size: Option<Size>, loc: Vec<crate::loc::Loc> },
}

/// Fetches and checks all images. Returns all problems at once.
async fn load(
    state: &State,
    tenant: &TenantId,
    pending: Vec<PendingImage>,
) -> Result<Vec<Loaded>, Refusal> {
    let all = stream::iter(pending).map(|image| load_one(state, tenant, image));
    let all: Vec<Result<Loaded, FieldError>> = all.buffered(AT_ONCE).try_collect().await?;
    let (mut found, mut problems) = (Vec::with_capacity(all.len()), Vec::new());
    for image in all {
        match image {
            Ok(image) => found.push(image),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Refusal::invalid(problems)) }
}

async fn load_one(
    state: &State,
    tenant: &TenantId,
    image: PendingImage,
) -> Result<Result<Loaded, FieldError>, Refusal> {
    let PendingImage { kind, loc, source } = image;
    let refused = |loc, message: String| FieldError { loc, message, kind: "value_error" };
    let bytes = match source {
        Source::Bytes(bytes) => bytes,
        Source::Blob(id) => {
            return Ok(match blob(state, tenant, id, kind).await? {
                Found::Visual(size) => Ok(Loaded::Blob { id, size, loc }),
                Found::Nothing => Err(no_blob(loc, id)),
                Found::Unusable(problem) => Err(refused(loc, problem)),
            });
        }
        Source::Url(url) => match state.images.download(&url, kind).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("the {} can't be downloaded: {error}", kind.noun());
                return Ok(Err(refused(loc, message)));
            }
        },
    };
    Ok(match state.images.check(bytes, kind).await {
        Ok(checked) => Ok(Loaded::Bytes { kind, checked, loc }),
        Err(problem) => Err(refused(loc, problem)),
    })
}

/// What a blob is.
enum Found {
    Visual(Option<Size>),
    Nothing,
    Unusable(String),
}

/// Checks a blob of the caller's, unless it was checked before.
async fn blob(
    state: &State,
    tenant: &TenantId,
    id: BlobId,
    kind: VisualKind,
) -> Result<Found, Refusal> {
    let found = state.ask(state.blobs.find(tenant, id)).await?;
    let is_usable = |purpose: &str| purpose == IMAGE || !purpose.starts_with('.');
    let Some(found) = found.filter(|found| is_usable(&found.blob.purpose)) else {
        return Ok(Found::Nothing);
    };
    if let Some(size) = state.images.checked(tenant, id, kind) {
        return Ok(Found::Visual(size));
    }
    let most = state.images.max_bytes(kind);
    let len = usize::try_from(found.blob.size).unwrap_or(usize::MAX);
    if len > most {
        let noun = kind.noun();
        return Ok(Found::Unusable(format!("the {noun} has {len} bytes; allowed are {most}")));
    }
    let read = async {
        let mut bytes = BytesMut::with_capacity(len);
        let mut pieces = found.read();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok::<_, BrokerError>(bytes.freeze())
    };
    let bytes = match timeout(state.options.client_timeout, read).await {
        Ok(bytes) => bytes?,
        Err(_) => return Err(Refusal::unavailable("a blob is read too slowly")),
    };
    Ok(match state.images.check(bytes, kind).await {
        Ok(Checked { size, .. }) => {
            state.images.remember_checked(tenant, id, kind, size);
            Found::Visual(size)
        }
        Err(problem) => Found::Unusable(problem),
    })
}

/// Stores an image, unless a blob of the same content can be shared.
async fn store(
    state: &State,
    tenant: &TenantId,
    ttl: Duration,
    kind: VisualKind,
    checked: Checked,
    attached: &mut Attached,
) -> Result<Result<(BlobId, Option<Size>), BlobError>, Refusal> {
    let Checked { bytes, hash, media_type, size } = checked;
    let twin = attached.new.iter().find(|(known, _)| *known == hash);
    if let Some((_, Stored { blob })) = twin {
        return Ok(Ok((*blob, size)));
    }
    if let Some(Stored { blob }) = state.images.stored(tenant, hash)
        && state.ask(state.blobs.touch(tenant, blob, ttl)).await?.is_some()
    {
        return Ok(Ok((blob, size)));
    }
    let new = NewBlob {
        tenant: tenant.clone(),
        purpose: IMAGE.to_owned(),
        media_type: media_type.to_owned(),
        filename: None,
        ttl: Some(ttl),
        announced: Some(bytes.len() as u64),
    };
    let body = stream::iter([Ok::<Bytes, BrokerError>(bytes)]);
    match timeout(state.options.client_timeout, state.blobs.put(new, body)).await {
        Ok(Ok(stored)) => {
            attached.new.push((hash, Stored { blob: stored.id }));
            state.images.remember_checked(tenant, stored.id, kind, size);
            Ok(Ok((stored.id, size)))
        }
        Ok(Err(BlobError::Store(error))) => Err(error.into()),
        Ok(Err(error)) => Ok(Err(error)),
        Err(_) => Err(Refusal::unavailable("a file is stored too slowly")),
    }
}

/// Puts the blobs into the prompt, in the places of their images' indexes.
fn name(prompt: &mut Prompt, blobs: &[BlobId]) {
    let name = |text: &mut String| {
        let blob = text.parse::<usize>().ok().and_then(|index| blobs.get(index));
        if let Some(blob) = blob {
            *text = blob.to_string();
        }
    };
    match prompt {
        Prompt::Chat(messages) | Prompt::Continued(messages) => {
            for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
                if let Part::Image { blob } | Part::Video { blob } = part {
                    name(blob);
                }
            }
        }
        Prompt::RawImages { images, .. } => images.iter_mut().for_each(name),
        Prompt::Raw(_) | Prompt::Tokens(_) => {}
    }
}

fn no_blob(loc: Vec<crate::loc::Loc>, id: BlobId) -> FieldError {
    let message = format!(
        "there is no file or blob with the id {id}: it never existed, it has expired or was deleted, or it \
         belongs to another key"
    );
    FieldError { loc, message, kind: "value_error" }
}

fn no_room(loc: Vec<crate::loc::Loc>, kind: VisualKind, error: &BlobError) -> Refusal {
    let message = format!("the {} can't be stored: {error}", kind.noun());
    Refusal::invalid(vec![FieldError { loc, message, kind: "value_error" }])
}
