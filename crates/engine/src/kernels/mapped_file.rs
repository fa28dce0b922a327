//! Mapping a model file into memory.

use std::fs::File;
use std::io;
use std::path::Path;

/// Maps a file for reading.
pub(crate) fn map(path: &Path) -> io::Result<memmap2::Mmap> {
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if kind.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    // SAFETY: the map is private and read-only. Whoever changes a model file in place while it is
    // loaded changes the weights under us, as with every program that maps its models; files are
    // put in place by rename (see `source`), which leaves a mapped one as it was.
    unsafe { memmap2::Mmap::map(&file) }
}

/// Lets go of the memory behind a part of a map of a file; it is read again when it is wanted.
pub(crate) fn release(map: &memmap2::Mmap, start: usize, len: usize) {
    #[cfg(unix)]
    // SAFETY: `map` is a private, read-only map of a file (see `map`): what comes back is what was
    // there. That a system refuses is no harm.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    #[cfg(not(unix))]
    let _ = (map, start, len);
}
