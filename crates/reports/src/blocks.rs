//! Splits a text of any length into blocks of whole lines, in bounded memory.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memrchr};

use crate::line::MAX_LINE;

/// The size of reads. A block and the tables of a worker fit into the second-level cache of most CPUs.
const READ_BYTES: usize = 256 << 10;

/// One block of whole lines in the buffer of whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// The number of its first line, from 1.
    pub(crate) first_line: u64,
    /// Its length in the buffer, with line ends. Only the last line of an input may lack its end.
    pub(crate) length: usize,
    /// It is the beginning of one line that is longer than [`MAX_LINE`]; the rest of that line is dropped.
    pub(crate) is_too_long: bool,
}

/// Reads blocks.
pub(crate) struct Blocks<R> {
    reader: R,
    /// The beginning of the next line.
    carry: Vec<u8>,
    next_line: u64,
    /// The rest of a line that is too long is being dropped.
    skips: bool,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, carry: Vec::new(), next_line: 1, skips: false }
    }

    /// Reads the next block to the beginning of `buffer`, whose length grows as needed. Returns `None` at the end.
    ///
    /// # Errors
    /// If the input can't be read or decoded. Lines that were read before the error have been returned.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Block>> {
        let mut end = self.carry.len();
        if buffer.len() < end + READ_BYTES {
            buffer.resize(end + READ_BYTES, 0);
        }
        buffer[..end].copy_from_slice(&self.carry);
        self.carry.clear();
        loop {
            if buffer.len() < end + READ_BYTES {
                buffer.resize(end + READ_BYTES, 0);
            }
            let read = match self.reader.read(&mut buffer[end..end + READ_BYTES]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                return Ok((end > 0).then(|| self.block(&buffer[..end], false)));
            }
            if self.skips {
                // The line was counted with its beginning.
                let Some(line_end) = memchr(b'\n', &buffer[..read]) else { continue };
                self.skips = false;
                buffer.copy_within(line_end + 1..read, 0);
                end = read - line_end - 1;
                if end == 0 {
                    continue;
                }
            } else {
                end += read;
            }
            if let Some(last) = memrchr(b'\n', &buffer[..end]) {
                self.carry.extend_from_slice(&buffer[last + 1..end]);
                return Ok(Some(self.block(&buffer[..=last], false)));
            }
            if end > MAX_LINE {
                self.skips = true;
                return Ok(Some(self.block(&buffer[..end], true)));
            }
        }
    }

    fn block(&mut self, bytes: &[u8], is_too_long: bool) -> Block {
        let first_line = self.next_line;
        let is_unfinished = bytes.last() != Some(&b'\n');
        self.next_line += memchr_iter(b'\n', bytes).count() as u64 + u64::from(is_unfinished);
        Block { first_line, length: bytes.len(), is_too_long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    /// Returns each line with its number, `!` for one that is too long.
    fn lines(text: &[u8], step: usize) -> Vec<(u64, String)> {
        let (mut blocks, mut buffer, mut found) =
            (Blocks::new(Slow(text, step)), Vec::new(), vec![]);
        while let Some(block) = blocks.next(&mut buffer).unwrap() {
            if block.is_too_long {
                found.push((block.first_line, "!".to_owned()));
                continue;
            }
            let text = std::str::from_utf8(&buffer[..block.length]).unwrap();
            found.extend((block.first_line..).zip(text.lines().map(str::to_owned)));
        }
        assert!(buffer.len() <= MAX_LINE + 3 * READ_BYTES, "{}", buffer.len());
        found
    }

    #[test]
    fn blocks_have_all_lines_with_their_numbers_for_any_size_of_reads() {
        let text: String = (1..200).map(|n| format!("{}\n", "x".repeat(n % 7))).collect();
        for unfinished in ["", "end"] {
            let text = text.clone() + unfinished;
            let expected: Vec<_> = (1..).zip(text.lines().map(str::to_owned)).collect();
            for step in [1, 2, 3, 64, 1_000_000] {
                assert_eq!(lines(text.as_bytes(), step), expected, "{step}");
            }
        }
        assert_eq!(lines(b"", 1), []);
        assert_eq!(lines(b"\n\n", 1), [(1, String::new()), (2, String::new())]);
    }

    #[test]
    fn lines_that_are_too_long_are_dropped_in_bounded_memory() {
        let long = "y".repeat(10_000_000);
        for (text, expected) in [
            (
                format!("a\n{long}\nb\n{long}\nc"),
                vec![(1, "a"), (2, "!"), (3, "b"), (4, "!"), (5, "c")],
            ),
            (long.clone(), vec![(1, "!")]),
            (format!("{long}\n"), vec![(1, "!")]),
            (format!("{long}\n{long}\n\nz\n"), vec![(1, "!"), (2, "!"), (3, ""), (4, "z")]),
        ] {
            for step in [50_000, 300_000] {
                let found = lines(text.as_bytes(), step);
                let found: Vec<_> = found.iter().map(|(n, line)| (*n, line.as_str())).collect();
                assert_eq!(found, expected);
            }
        }
    }
}
