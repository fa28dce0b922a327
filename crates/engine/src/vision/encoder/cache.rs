//! Keeps encoded images for requests that have them again.

use std::collections::HashMap;
use std::sync::Arc;

use super::EncodedImage;

/// Encoded images, of which the ones unused for longest are removed first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    images: HashMap<[u8; 32], (Arc<EncodedImage>, u64)>,
    pub(super) bytes: usize,
    /// Counts uses.
    now: u64,
}

impl Cache {
    pub(super) fn get(&mut self, hash: &[u8; 32]) -> Option<Arc<EncodedImage>> {
        self.now += 1;
        let (image, used) = self.images.get_mut(hash)?;
        *used = self.now;
        Some(image.clone())
    }

    /// Keeps an image, unless it is larger than the whole cache.
    pub(super) fn insert(&mut self, image: Arc<EncodedImage>, most: usize) {
        let bytes = image.bytes();
        if bytes > most {
            return;
        }
        while self.bytes + bytes > most {
            let oldest =
                self.images.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash);
            let Some((oldest, _)) = oldest.and_then(|hash| self.images.remove(&hash)) else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
        self.now += 1;
        self.bytes += bytes;
        self.images.insert(image.hash, (image, self.now));
    }
}
