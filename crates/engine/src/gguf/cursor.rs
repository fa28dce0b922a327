//! A bounds-checked reader of the first bytes of a file.

use super::GgufError;

/// A bounds-checked reader of the first bytes of a file.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The length of the whole file.
    file_len: u64,
    /// Set if a read failed at the end of `bytes`, but within the file.
    wants_more: bool,
}

impl<'a> Cursor<'a> {
    /// Creates a reader of a file of `file_len` bytes that begins with `bytes`.
    pub(super) fn new(bytes: &'a [u8], file_len: u64) -> Self {
        Self { bytes, at: 0, file_len, wants_more: false }
    }

    /// Returns whether an error only means that more of the file must be read.
    pub(super) fn wants_more(&self) -> bool {
        self.wants_more
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], GgufError> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => {
                let end = (self.at as u64).saturating_add(len as u64);
                self.wants_more |= end <= self.file_len;
                Err(GgufError::Truncated {
                    what: what.to_owned(),
                    at: self.at as u64,
                    end,
                    len: self.file_len,
                })
            }
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Reads a count of items of at least `least_size` bytes each; an error if the rest of the file can't
    /// contain them.
    pub(super) fn count(&mut self, what: &str, least_size: usize) -> Result<usize, GgufError> {
        let claimed = self.u64(what)?;
        let room = (self.file_len - self.at as u64) / least_size as u64;
        match usize::try_from(claimed) {
            Ok(count) if claimed <= room => Ok(count),
            _ => Err(GgufError::TooLong { what: what.to_owned(), claimed }),
        }
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String, GgufError> {
        let len = self.count(what, 1)?;
        let bytes = self.take(len, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(GgufError::NotUtf8 { what: what.to_owned() }),
        }
    }

    /// Reads `count` numbers of `N` bytes.
    pub(super) fn collect<const N: usize, T>(
        &mut self,
        count: usize,
        what: &str,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufError> {
        let len = count
            .checked_mul(N)
            .ok_or_else(|| GgufError::TooLong { what: what.to_owned(), claimed: count as u64 })?;
        let (numbers, _) = self.take(len, what)?.as_chunks::<N>();
        Ok(numbers.iter().map(|bytes| read(*bytes)).collect())
    }
}
