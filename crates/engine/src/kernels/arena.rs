//! Bump allocation of packed weights, keys and values in large chunks of memory.
//!
//! The system backs memory with 2 MiB pages only where a whole page fits, and most weights of a
//! small model are shorter than that. Small pages would cost a step of one token a third of its
//! time in page table walks on a virtual machine, so weights share large pages.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use half::f16;
use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes that are requested from the system at once. Pages that are never written take no memory.
const CHUNK: usize = 64 << 20;

/// Alignment of every allocation, in bytes: a cache line.
const ALIGN: usize = 64;

/// A mapping that is returned to the system when its last allocation is dropped.
#[derive(Debug)]
struct Chunk {
    map: MmapRaw,
    /// The offset in bytes up to which the mapping is allocated.
    used: Mutex<usize>,
}

/// The chunk that new allocations come from.
static CURRENT: Mutex<Weak<Chunk>> = Mutex::new(Weak::new());

/// Makes the next allocation start a new chunk. Call before loading a model: models then share no
/// chunk, so unloading one returns all of its memory.
pub(crate) fn start_new_chunk() {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
}

/// A range of a chunk, owned exclusively.
#[derive(Debug)]
pub(crate) struct Allocation {
    chunk: Arc<Chunk>,
    start: usize,
    len: usize,
}

impl Allocation {
    /// Allocates `len` zeroed bytes. Fails if the system has no memory to map.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = current.upgrade()
            && let Some(start) = chunk.take(len)
        {
            return Ok(Self { chunk, start, len });
        }
        let chunk = Arc::new(Chunk::new(len)?);
        let Some(start) = chunk.take(len) else {
            return Err(io::Error::other(format!("a new chunk has no room for {len} bytes")));
        };
        // A large allocation fills its own chunk; later ones keep using the room in the current
        // one.
        if len < CHUNK / 2 {
            *current = Arc::downgrade(&chunk);
        }
        Ok(Self { chunk, start, len })
    }
}

impl Chunk {
    /// Maps a chunk with room for at least `len` bytes.
    fn new(len: usize) -> io::Result<Self> {
        // One large page more, so that allocation can start at a large page wherever the map is.
        let bytes = len.max(CHUNK).next_multiple_of(LARGE_PAGE) + LARGE_PAGE;
        let map = MmapRaw::from(MmapOptions::new().len(bytes).map_anon()?);
        #[cfg(target_os = "linux")]
        // Fails where the system has no large pages; small ones work too.
        let _ = map.advise(memmap2::Advice::HugePage);
        let begin = (map.as_ptr() as usize).next_multiple_of(LARGE_PAGE) - map.as_ptr() as usize;
        Ok(Self { map, used: Mutex::new(begin) })
    }

    /// Allocates `len` bytes and returns their offset, or `None` if they do not fit.
    fn take(&self, len: usize) -> Option<usize> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let start = used.next_multiple_of(ALIGN);
        let end = start.checked_add(len).filter(|end| *end <= self.map.len())?;
        *used = end;
        Some(start)
    }
}

impl std::ops::Deref for Allocation {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: inside the map, which lives as long as `chunk`; initialized, as anonymous maps
        // are zeroed; not written while this is borrowed, as the range was allocated once.
        unsafe { std::slice::from_raw_parts(self.chunk.map.as_ptr().add(self.start), self.len) }
    }
}

impl std::ops::DerefMut for Allocation {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is the range's only owner.
        unsafe {
            std::slice::from_raw_parts_mut(self.chunk.map.as_mut_ptr().add(self.start), self.len)
        }
    }
}

/// A number type that is zero when all bits are zero and valid with any bits.
///
/// # Safety
/// The type has these properties and an alignment of at most [`ALIGN`] bytes.
pub(crate) unsafe trait Number: Copy {
    const ZERO: Self;
}

// SAFETY: any 32 bits are an f32.
unsafe impl Number for f32 {
    const ZERO: Self = 0.0;
}
// SAFETY: any 16 bits are an f16.
unsafe impl Number for f16 {
    const ZERO: Self = Self::ZERO;
}

/// A slice of numbers in a chunk. Pages that are never touched take no memory.
#[derive(Debug)]
pub(crate) struct Region<T>(Memory<T>);

#[derive(Debug)]
enum Memory<T> {
    Large(Allocation),
    /// The fallback where no chunk could be mapped.
    Small(Vec<T>),
}

impl<T: Number> Region<T> {
    /// Allocates `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let small = || Memory::Small(vec![T::ZERO; len]);
        Self(Allocation::zeroed(len * size_of::<T>()).map_or_else(|_| small(), Memory::Large))
    }
}

impl<T: Number> std::ops::Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            // SAFETY: an allocation starts at a multiple of `ALIGN`, and any bytes are valid
            // numbers.
            Memory::Large(part) => unsafe {
                std::slice::from_raw_parts(part.as_ptr().cast(), part.len / size_of::<T>())
            },
            Memory::Small(numbers) => numbers,
        }
    }
}

impl<T: Number> std::ops::DerefMut for Region<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Memory::Large(part) => {
                let len = part.len / size_of::<T>();
                // SAFETY: as above, borrowed from the only owner.
                unsafe { std::slice::from_raw_parts_mut(part.as_mut_ptr().cast(), len) }
            }
            Memory::Small(numbers) => numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_zeroed_disjoint_and_aligned() {
        let mut allocations: Vec<Allocation> =
            [1, 63, 64, 0, 5 << 20, 100 << 20, 40 << 20, 40 << 20, 1000, 3 << 20]
                .into_iter()
                .map(|len| Allocation::zeroed(len).unwrap())
                .collect();
        for (index, allocation) in allocations.iter_mut().enumerate() {
            assert!(allocation.iter().all(|byte| *byte == 0));
            assert!(allocation.as_ptr().addr().is_multiple_of(ALIGN));
            allocation.fill(index as u8 + 1);
        }
        for (index, allocation) in allocations.iter().enumerate() {
            assert!(allocation.iter().all(|byte| *byte == index as u8 + 1));
        }
    }

    #[test]
    fn regions_are_zeroed_and_writable() {
        let mut halves = Region::<f16>::zeroed(33);
        let mut floats = Region::<f32>::zeroed(5);
        assert!(halves.iter().all(|half| *half == f16::ZERO) && *floats == [0.0; 5]);
        (halves[32], floats[4]) = (f16::ONE, 7.0);
        assert_eq!((halves.len(), halves[32], floats[3], floats[4]), (33, f16::ONE, 0.0, 7.0));
        assert!(Region::<f32>::zeroed(0).is_empty());
    }

    #[test]
    fn short_allocations_share_a_chunk_and_free_it_together() {
        let chunk = Chunk::new(10).unwrap();
        let end = chunk.map.as_ptr() as usize + *chunk.used.lock().unwrap();
        assert!(end.is_multiple_of(LARGE_PAGE));
        let (first, second) = (chunk.take(10).unwrap(), chunk.take(CHUNK / 2).unwrap());
        assert_eq!(second, first + ALIGN);
        assert_eq!(chunk.take(CHUNK), None);
        assert!(chunk.take(CHUNK / 4).is_some());
        let allocation = Allocation::zeroed(100).unwrap();
        let weak = Arc::downgrade(&allocation.chunk);
        drop(allocation);
        // The chunk may live on if another test has an allocation in it.
        assert!(weak.upgrade().is_none_or(|chunk| Arc::strong_count(&chunk) > 1));
    }
}
