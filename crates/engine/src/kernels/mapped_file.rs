//! Mapping a model file into memory.

use std::fs::File;
use std::io;
use std::path::Path;

/// Maps a file for reading. Fails if it cannot be opened, is a directory or is empty.
pub(crate) fn map(path: &Path) -> io::Result<memmap2::Mmap> {
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if kind.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    // SAFETY: the map is private and read-only. Changing a model file in place while it is loaded
    // changes the weights, as for every program that maps its models; downloads are put in place by
    // rename (see `source`), which leaves a mapped file unchanged.
    unsafe { memmap2::Mmap::map(&file) }
}

/// Releases the memory behind a part of a file's map. It is read again on the next access.
pub(crate) fn release(map: &memmap2::Mmap, start: usize, len: usize) {
    #[cfg(unix)]
    // SAFETY: `map` is a private, read-only map of a file (see `map`), so reading it again
    // gives the same bytes. A failure only keeps the memory.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    #[cfg(not(unix))]
    let _ = (map, start, len);
}
