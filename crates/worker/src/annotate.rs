//! Draws the marks of an answer on the images of its prompt, and stores the drawings.

use std::time::Duration;

use engine::vision::Image;
use futures::stream;
use protocol::{BlobId, Task, TenantId, VisualKind};
use queue::{BlobStore, NewBlob};
use skills::draw::{Colors, Limits, Raster, draw};
use skills::marks::Mark;
use tokio::time::timeout;

use crate::visuals::VisualReader;

/// The purpose of the blobs.
const PURPOSE: &str = "annotated";
/// Maximum time to store a drawing.
const STORE_SPAN: Duration = Duration::from_secs(30);
/// By how much a drawing outlives the result, whose time begins later.
const SPARE: Duration = Duration::from_secs(60);

/// Drawings that are stored. They are deleted when this is dropped, unless they are kept.
pub(crate) struct Drawings {
    blobs: BlobStore,
    tenant: TenantId,
    ids: Vec<BlobId>,
}

impl Drawings {
    pub(crate) fn new(blobs: BlobStore, task: &Task) -> Self {
        Self { blobs, tenant: task.tenant.clone(), ids: Vec::new() }
    }

    /// Keeps the drawings, and returns their blobs.
    pub(crate) fn keep(mut self) -> Vec<BlobId> {
        std::mem::take(&mut self.ids)
    }

    /// Draws on each image of the task that has marks, and stores it. Returns what could not be drawn or stored.
    pub(crate) async fn add(
        &mut self,
        reader: &VisualReader,
        task: &Task,
        marks: Vec<Mark>,
    ) -> Vec<String> {
        let marks = std::sync::Arc::new(marks);
        let colors = Colors::of(&marks);
        let limits = Limits { max_bytes: reader.max_image_bytes(), ..Limits::default() };
        let mut warnings = Vec::new();
        for (index, (kind, name)) in task.prompt.visuals().into_iter().enumerate() {
            if !marks.iter().any(|mark| mark.picture == index) {
                continue;
            }
            let mut warn = |problem: String| {
                warnings.push(format!("{} {}: {problem}", kind.noun(), index + 1));
            };
            if kind == VisualKind::Video {
                warn("marks are not drawn on videos".to_owned());
                continue;
            }
            let (marks, colors) = (marks.clone(), colors.clone());
            let drawn = reader.with_image(task, name, move |image: Image| {
                let Image { width, height, rgb } = image;
                draw(Raster { width, height, rgb }, index, &marks, &colors, &limits)
            });
            match drawn.await {
                Ok(Ok(drawing)) => {
                    drawing.warnings.into_iter().for_each(&mut warn);
                    match self.store(task, drawing.png).await {
                        Ok(id) => self.ids.push(id),
                        Err(problem) => warn(format!("its drawing can't be stored: {problem}")),
                    }
                }
                Ok(Err(error)) => warn(format!("it can't be drawn on: {error}")),
                Err(error) => warn(format!("it can't be drawn on: {error}")),
            }
        }
        warnings
    }

    async fn store(&self, task: &Task, png: Vec<u8>) -> Result<BlobId, String> {
        let new = NewBlob {
            tenant: self.tenant.clone(),
            purpose: PURPOSE.to_owned(),
            media_type: "image/png".to_owned(),
            filename: None,
            ttl: Some(Duration::from_secs(task.result_ttl_s.into()) + SPARE),
            announced: Some(png.len() as u64),
        };
        let body = stream::iter([Ok::<_, std::io::Error>(png.into())]);
        match timeout(STORE_SPAN, self.blobs.put(new, body)).await {
            Ok(Ok(stored)) => Ok(stored.id),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the blob store does not answer".to_owned()),
        }
    }
}

impl Drop for Drawings {
    /// Deletes them: the attempt ends without an answer.
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if ids.is_empty() {
            return;
        }
        let (blobs, tenant) = (self.blobs.clone(), self.tenant.clone());
        tokio::spawn(async move {
            for id in ids {
                if let Err(error) = blobs.delete(&tenant, id).await {
                    tracing::debug!(target: "worker.annotate", "a drawing is not deleted yet: {error}");
                }
            }
        });
    }
}
