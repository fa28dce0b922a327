//! Bytes as files in a folder, also one that several machines mount. A file is written under `partial/` and
//! renamed into place once it is synced.

use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{StreamExt, try_unfold};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::contract::causes;
use crate::{BlobBytes, BlobPlace, BlobWriter, BrokerError, ByteStream};

/// The size of the pieces that are read.
const PIECE: usize = 128 << 10;

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Uses a folder, which the first write creates.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Files are spread over 256 folders.
    fn path(&self, place: BlobPlace) -> PathBuf {
        let name = place.to_string();
        self.root.join(&name[..2]).join(name)
    }

    fn partial(&self, place: BlobPlace) -> PathBuf {
        self.root.join("partial").join(place.to_string())
    }
}

#[async_trait]
impl BlobBytes for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    async fn writer(
        &self,
        place: BlobPlace,
        _ttl: Duration,
    ) -> Result<Box<dyn BlobWriter>, BrokerError> {
        let (partial, path) = (self.partial(place), self.path(place));
        for folder in [&partial, &path].into_iter().filter_map(|path| path.parent()) {
            fs::create_dir_all(folder).await.map_err(|error| failed(folder, &error))?;
        }
        let file = File::create(&partial).await.map_err(|error| failed(&partial, &error))?;
        Ok(Box::new(Writer { file, partial, path }))
    }

    fn read(&self, place: BlobPlace, range: Range<u64>) -> ByteStream {
        let path = self.path(place);
        let start = (None::<File>, range.start);
        let read = move |(open, at): (Option<File>, u64)| {
            let path = path.clone();
            async move {
                if at >= range.end {
                    return Ok(None);
                }
                let lost = |error: std::io::Error| match error.kind() {
                    ErrorKind::NotFound => missing(&path),
                    _ => failed(&path, &error),
                };
                let mut file = match open {
                    Some(file) => file,
                    None => {
                        let mut file = File::open(&path).await.map_err(lost)?;
                        file.seek(SeekFrom::Start(at)).await.map_err(lost)?;
                        file
                    }
                };
                let most = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
                let mut piece = BytesMut::zeroed(most);
                let count = file.read(&mut piece).await.map_err(lost)?;
                if count == 0 {
                    return Err(missing(&path));
                }
                piece.truncate(count);
                Ok(Some((piece.freeze(), (Some(file), at + count as u64))))
            }
        };
        try_unfold(start, read).boxed()
    }

    async fn keep(&self, _place: BlobPlace, _ttl: Duration) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn delete(&self, place: BlobPlace) -> Result<(), BrokerError> {
        for path in [self.partial(place), self.path(place)] {
            match fs::remove_file(&path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(&path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes a file.
struct Writer {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BrokerError> {
        self.file.write_all(&bytes).await.map_err(|error| failed(&self.partial, &error))
    }

    async fn finish(&mut self, _ttl: Duration) -> Result<(), BrokerError> {
        let failed = |error| failed(&self.partial, &error);
        self.file.flush().await.map_err(failed)?;
        self.file.sync_all().await.map_err(failed)?;
        fs::rename(&self.partial, &self.path).await.map_err(failed)?;
        if let Some(folder) = self.path.parent() {
            sync(folder).await.map_err(failed)?;
            // It may be new.
            if let Some(root) = folder.parent() {
                sync(root).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Makes renames in a folder durable.
async fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder).await?.sync_all().await
}

fn failed(path: &Path, error: &std::io::Error) -> BrokerError {
    let path = path.display();
    BrokerError::Unavailable {
        reason: format!("the blobs: {} ({path}: {error})", causes::UNWRITABLE),
    }
}

fn missing(path: &Path) -> BrokerError {
    BrokerError::Corrupt(format!("bytes of a blob are missing ({})", path.display()))
}
