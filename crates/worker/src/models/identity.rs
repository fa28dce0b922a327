//! What a loaded model is, by the content of its files.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use engine::content::{ContentFiles, ContentHashes};
use protocol::ModelId;

use super::{Models, Served};

/// The hashes of a loaded model's files, once they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity(Arc<OnceLock<ContentHashes>>);

impl Identity {
    /// Starts hashing the files on a thread of its own, since it takes a second per gigabyte. They were noted before the
    /// model was loaded; if one has changed since, the model has no identity.
    pub(super) fn of(id: &ModelId, files: ContentFiles) -> Self {
        let identity = Self::default();
        let (known, id) = (Arc::clone(&identity.0), id.clone());
        let hash = move || {
            let began = Instant::now();
            match files.hash() {
                Ok(hashes) => {
                    let _ = known.set(hashes);
                    let took = began.elapsed().as_secs_f64();
                    tracing::info!(target: "worker.model", "answers of {id} are cached: its files were hashed in {took:.1} s");
                }
                Err(error) => unknown(&id, &error),
            }
        };
        let thread = std::thread::Builder::new().name("hash-model".into()).spawn(hash);
        if let Err(error) = thread {
            tracing::warn!(target: "worker.model", "no thread can be started to hash files: {error}");
        }
        identity
    }

    /// Returns the hashes; `None` while they are not known.
    pub(crate) fn hashes(&self) -> Option<&ContentHashes> {
        self.0.get()
    }
}

/// Logs that the files of a model can't be hashed.
pub(super) fn unknown(id: &ModelId, error: &std::io::Error) {
    tracing::warn!(target: "worker.model", "answers of {id} are not cached, since its files can't be hashed: {error}");
}

impl Models {
    /// Returns what a loaded model is, by its name or its adapter's; `None` if it is not known.
    pub(crate) fn identity(&self, name: &ModelId) -> Option<Identity> {
        let identity = self.serving(name)?.place().identity.clone();
        identity.hashes().is_some().then_some(identity)
    }

    /// Returns the most tokens of an image and of a video for a model.
    pub(crate) fn image_tokens(&self, name: &ModelId) -> (usize, usize) {
        let images = self.serving(name).map(|served| &served.options.images);
        images.map_or((0, 0), |images| (images.max_tokens, images.max_video_tokens))
    }

    fn serving(&self, name: &ModelId) -> Option<&Arc<Served>> {
        self.served.iter().find(|served| served.names().contains(name))
    }
}
