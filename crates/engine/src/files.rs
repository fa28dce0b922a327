//! Reads model files by position.
//!
//! Files are not memory-mapped. A process that reads a mapping beyond the end of a truncated file is killed by
//! SIGBUS; a positioned read fails with an error instead. And since files stay open, one that is replaced by a
//! rename, or deleted, stays readable as it was.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::MmapMut;

use crate::LoadError;

/// The error of reading a model file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file's content changed since it was opened.
    #[error(
        "it was changed while it was in use ({what}): put the whole file in place by renaming, and load \
         it again"
    )]
    Changed {
        /// The difference that was found.
        what: String,
    },
    /// The system's error.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A file open for reading, with its size and modification time at that moment.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    file: File,
    opened: FileFingerprint,
}

/// Attributes that change when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFingerprint {
    len: u64,
    /// `None` if the file system does not support it.
    modified: Option<SystemTime>,
}

impl FileFingerprint {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl OpenFile {
    /// Opens a regular, non-empty file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        if metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
        }
        Ok(Self { path: path.to_owned(), file, opened: FileFingerprint::of(&metadata) })
    }

    /// Converts a read error to one that names the file.
    pub(crate) fn unreadable(&self, problem: ReadError) -> LoadError {
        let error = match problem {
            ReadError::Io(error) => error,
            changed @ ReadError::Changed { .. } => io::Error::other(changed),
        };
        LoadError::Unreadable { path: self.path.clone(), error }
    }

    /// Returns its size in bytes when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.opened.len
    }

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Returns an error if the read fails or the file was truncated. Overwritten bytes are not detected here:
    /// call [`check`](Self::check) after reading.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let read = read_exact_at(&self.file, offset, out);
        // The cause, that the file was changed, is more useful than the early end.
        read.map_err(|error| self.check().err().unwrap_or(ReadError::Io(error)))
    }

    /// Returns `len` bytes from `offset` on.
    ///
    /// # Errors
    /// Returns the errors of [`read_at`](Self::read_at).
    pub(crate) fn bytes_at(&self, offset: u64, len: usize) -> Result<Bytes<'static>, ReadError> {
        let mut bytes = MmapMut::map_anon(len.max(1))?;
        self.read_at(offset, &mut bytes[..len])?;
        Ok(Bytes(Held::Read { bytes, len }))
    }

    /// Compares the file's size and modification time with those at the time of opening. A step calls this after
    /// it has read from the file, so it detects writes before that read.
    ///
    /// # Errors
    /// Returns an error if they differ.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        let now = FileFingerprint::of(&self.file.metadata()?);
        if now == self.opened {
            return Ok(());
        }
        let what = if now.len == self.opened.len {
            "it was written to after it was opened".to_owned()
        } else {
            format!("it had {} bytes, now it has {}", self.opened.len, now.len)
        };
        Err(ReadError::Changed { what })
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                offset += read as u64;
                out = &mut out[read..];
            }
        }
    }
    Ok(())
}

/// Bytes of a model, aligned for every weight format.
#[derive(Debug)]
pub struct Bytes<'a>(Held<'a>);

#[derive(Debug)]
enum Held<'a> {
    /// In memory that something else owns.
    Borrowed(&'a [u8]),
    /// Read from a file, into dedicated pages, which are returned to the system at once.
    Read { bytes: MmapMut, len: usize },
}

impl<'a> Bytes<'a> {
    pub(crate) fn borrowed(bytes: &'a [u8]) -> Self {
        Self(Held::Borrowed(bytes))
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Borrowed(bytes) => bytes,
            Held::Read { bytes, len } => &bytes[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek, Write};
    use std::time::Duration;

    use super::*;

    fn open() -> (tempfile::TempDir, std::path::PathBuf, OpenFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::write(&path, (0..=255).collect::<Vec<u8>>()).unwrap();
        let file = OpenFile::open(&path).unwrap();
        (folder, path, file)
    }

    #[test]
    fn bytes_are_read_at_their_offset_and_aligned() {
        let (_folder, _, file) = open();
        assert_eq!(file.len(), 256);
        let bytes = file.bytes_at(250, 6).unwrap();
        assert_eq!(&*bytes, [250, 251, 252, 253, 254, 255]);
        assert_eq!(bytes.as_ptr().align_offset(32), 0);
        assert!(file.bytes_at(0, 0).unwrap().is_empty());
        assert!(matches!(file.bytes_at(250, 7), Err(ReadError::Io(_))));
        file.check().unwrap();
    }

    #[test]
    fn in_place_changes_of_a_file_are_detected() {
        let changed = |change: fn(&Path)| {
            let (_folder, path, file) = open();
            // A file system's clock ticks every few milliseconds.
            std::thread::sleep(Duration::from_millis(30));
            change(&path);
            let read = file.bytes_at(200, 10).map(|bytes| bytes.to_vec());
            (read.map_err(|error| error.to_string()), file.check().map_err(|e| e.to_string()))
        };
        let (read, check) = changed(|path| {
            File::options().write(true).open(path).unwrap().set_len(100).unwrap();
        });
        assert!(read.unwrap_err().contains("256 bytes, now it has 100"));
        assert!(check.unwrap_err().contains("256 bytes, now it has 100"));
        let (read, check) = changed(|path| fs::write(path, [7; 256]).unwrap());
        assert_eq!(read.unwrap(), [7; 10]);
        assert!(check.unwrap_err().contains("written to"));
        let (_, check) = changed(|path| {
            let mut file = File::options().write(true).open(path).unwrap();
            file.seek(io::SeekFrom::Start(3)).unwrap();
            file.write_all(b"x").unwrap();
        });
        assert!(check.unwrap_err().contains("written to"));
    }

    #[test]
    fn an_open_file_keeps_its_bytes_after_replacement_or_deletion() {
        let (folder, path, file) = open();
        let other = folder.path().join("other");
        fs::write(&other, [7; 10]).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(&*file.bytes_at(254, 2).unwrap(), [254, 255]);
        file.check().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(&*file.bytes_at(254, 2).unwrap(), [254, 255]);
        file.check().unwrap();
    }
}
