//! Where packed weights, keys and values lie: one after the other in large pieces of memory.
//!
//! The system backs memory with pages of 2 MiB only where a whole one fits, and most weights of a
//! small model are shorter than that. Walking the tables of small pages costs a step of one token
//! a third of its time on a virtual machine, so weights share their pages.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use half::f16;
use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes that are asked of the system at once. What is not used of them is never touched.
const CHUNK: usize = 64 << 20;

/// Where every weight begins: at a line of the cache.
const ALIGN: usize = 64;

/// Memory that is given back when nothing lies in it any more.
#[derive(Debug)]
struct Chunk {
    map: MmapRaw,
    /// How far it is given out.
    used: Mutex<usize>,
}

/// The chunk that has room.
static CURRENT: Mutex<Weak<Chunk>> = Mutex::new(Weak::new());

/// Lets the next part begin a chunk of its own: what is loaded from here on lies apart from what was
/// loaded before, so that each is given back whole when it goes.
pub(crate) fn begin_anew() {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
}

/// A part of a chunk, which nobody else has.
#[derive(Debug)]
pub(crate) struct Part {
    chunk: Arc<Chunk>,
    start: usize,
    len: usize,
}

impl Part {
    /// `len` bytes, zero.
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
        // A weight that fills chunks of its own leaves room in the one before.
        if len < CHUNK / 2 {
            *current = Arc::downgrade(&chunk);
        }
        Ok(Self { chunk, start, len })
    }
}

impl Chunk {
    /// Room for `len` bytes at least.
    fn new(len: usize) -> io::Result<Self> {
        // Room to begin at a large page, wherever the system puts it.
        let bytes = len.max(CHUNK).next_multiple_of(LARGE_PAGE) + LARGE_PAGE;
        let map = MmapRaw::from(MmapOptions::new().len(bytes).map_anon()?);
        #[cfg(target_os = "linux")]
        // Refused where the system has none: then pages are small.
        let _ = map.advise(memmap2::Advice::HugePage);
        let begin = (map.as_ptr() as usize).next_multiple_of(LARGE_PAGE) - map.as_ptr() as usize;
        Ok(Self { map, used: Mutex::new(begin) })
    }

    /// Where the next `len` bytes are, if there are so many.
    fn take(&self, len: usize) -> Option<usize> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let start = used.next_multiple_of(ALIGN);
        let end = start.checked_add(len).filter(|end| *end <= self.map.len())?;
        *used = end;
        Some(start)
    }
}

impl std::ops::Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: inside the map, which lives as long as `chunk`; initialized, as the system gives
        // zeros; nobody writes to it while this is borrowed, as the range was given out once.
        unsafe { std::slice::from_raw_parts(self.chunk.map.as_ptr().add(self.start), self.len) }
    }
}

impl std::ops::DerefMut for Part {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this is the only one that has the range.
        unsafe {
            std::slice::from_raw_parts_mut(self.chunk.map.as_mut_ptr().add(self.start), self.len)
        }
    }
}

/// Numbers for which all bits zero are zero, and any bits are a number.
///
/// # Safety
/// That holds, and they need no more than [`ALIGN`] bytes of alignment.
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

/// Numbers in such memory. What is never touched costs nothing.
#[derive(Debug)]
pub(crate) struct Region<T>(Memory<T>);

#[derive(Debug)]
enum Memory<T> {
    Large(Part),
    /// Where the system gives no large pieces.
    Small(Vec<T>),
}

impl<T: Number> Region<T> {
    /// `len` numbers, zero.
    pub(crate) fn zeroed(len: usize) -> Self {
        let small = || Memory::Small(vec![T::ZERO; len]);
        Self(Part::zeroed(len * size_of::<T>()).map_or_else(|_| small(), Memory::Large))
    }
}

impl<T: Number> std::ops::Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            // SAFETY: a part begins at a multiple of `ALIGN`, and any bytes are numbers.
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
                // SAFETY: as above, borrowed from the one that has the part.
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
    fn parts_are_zero_apart_and_aligned() {
        let mut parts: Vec<Part> =
            [1, 63, 64, 0, 5 << 20, 100 << 20, 40 << 20, 40 << 20, 1000, 3 << 20]
                .into_iter()
                .map(|len| Part::zeroed(len).unwrap())
                .collect();
        for (index, part) in parts.iter_mut().enumerate() {
            assert!(part.iter().all(|byte| *byte == 0));
            assert!(part.as_ptr().addr().is_multiple_of(ALIGN));
            part.fill(index as u8 + 1);
        }
        for (index, part) in parts.iter().enumerate() {
            assert!(part.iter().all(|byte| *byte == index as u8 + 1));
        }
    }

    #[test]
    fn regions_are_numbers() {
        let mut halves = Region::<f16>::zeroed(33);
        let mut floats = Region::<f32>::zeroed(5);
        assert!(halves.iter().all(|half| *half == f16::ZERO) && *floats == [0.0; 5]);
        (halves[32], floats[4]) = (f16::ONE, 7.0);
        assert_eq!((halves.len(), halves[32], floats[3], floats[4]), (33, f16::ONE, 0.0, 7.0));
        assert!(Region::<f32>::zeroed(0).is_empty());
    }

    #[test]
    fn short_parts_share_a_chunk_and_give_it_back_together() {
        let chunk = Chunk::new(10).unwrap();
        let end = chunk.map.as_ptr() as usize + *chunk.used.lock().unwrap();
        assert!(end.is_multiple_of(LARGE_PAGE));
        let (first, second) = (chunk.take(10).unwrap(), chunk.take(CHUNK / 2).unwrap());
        assert_eq!(second, first + ALIGN);
        assert_eq!(chunk.take(CHUNK), None);
        assert!(chunk.take(CHUNK / 4).is_some());
        let part = Part::zeroed(100).unwrap();
        let weak = Arc::downgrade(&part.chunk);
        drop(part);
        // Unless another test has a part of it.
        assert!(weak.upgrade().is_none_or(|chunk| Arc::strong_count(&chunk) > 1));
    }
}
