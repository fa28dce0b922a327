//! Streams the lines of a file: each is bounded, and blank ones are skipped.

use actix_web::web::{Bytes, BytesMut};
use futures::StreamExt;
use queue::{BrokerError, ByteStream};

/// The lines of a file.
pub(super) struct Lines {
    bytes: ByteStream,
    /// Maximum length of a line.
    limit: usize,
    /// The bytes that were read of the next lines.
    buffer: BytesMut,
    /// The number of bytes of the buffer that are known to have no line end.
    searched: usize,
    /// The number of the last line, from 1.
    number: u32,
    has_ended: bool,
}

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1. Blank lines count.
    pub(super) number: u32,
    /// Its text; `None` if it is longer than the limit.
    pub(super) text: Option<Bytes>,
}

impl Lines {
    /// Reads lines of at most `limit` bytes.
    pub(super) fn new(bytes: ByteStream, limit: usize) -> Self {
        let buffer = BytesMut::new();
        Self { bytes, limit, buffer, searched: 0, number: 0, has_ended: false }
    }

    /// Returns the next line that is not blank, or `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, BrokerError> {
        loop {
            let Some(text) = self.next_text().await? else { return Ok(None) };
            self.number = self.number.saturating_add(1);
            let is_blank =
                text.as_ref().is_some_and(|text| text.iter().all(u8::is_ascii_whitespace));
            if !is_blank {
                return Ok(Some(Line { number: self.number, text }));
            }
        }
    }

    /// Returns the next line without its end; `Some(None)` if it is too long.
    async fn next_text(&mut self) -> Result<Option<Option<Bytes>>, BrokerError> {
        let mut is_too_long = false;
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut text = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                text.truncate(text.len() - 1);
                is_too_long |= text.len() > self.limit;
                return Ok(Some((!is_too_long).then(|| text.freeze())));
            }
            if self.buffer.len() > self.limit {
                is_too_long = true;
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            if self.has_ended {
                if self.buffer.is_empty() && !is_too_long {
                    return Ok(None);
                }
                self.searched = 0;
                let text = self.buffer.split();
                return Ok(Some((!is_too_long).then(|| text.freeze())));
            }
            match self.bytes.next().await {
                Some(piece) => self.buffer.extend_from_slice(&piece?),
                None => self.has_ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// Reads a text in pieces of `size` bytes. Returns each line's number and text.
    async fn read(text: &str, size: usize, limit: usize) -> Vec<(u32, Option<String>)> {
        let pieces: Vec<_> =
            text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut lines = Lines::new(stream::iter(pieces).boxed(), limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            let text = line.text.map(|text| String::from_utf8(text.to_vec()).unwrap());
            found.push((line.number, text));
        }
        found
    }

    #[tokio::test]
    async fn lines_are_numbered_bounded_and_not_blank_in_pieces_of_any_size() {
        let text = "ab\n\n  \r\nlonger than that\ncd\r\nlast";
        for size in [1, 2, 3, 7, 1000] {
            let expected = [
                (1, Some("ab".to_owned())),
                (4, None),
                (5, Some("cd\r".to_owned())),
                (6, Some("last".to_owned())),
            ];
            assert_eq!(read(text, size, 8).await, expected, "{size}");
            assert!(read("", size, 8).await.is_empty());
            assert_eq!(read("123456789", size, 8).await, [(1, None)]);
            assert_eq!(read("x\n", size, 8).await, [(1, Some("x".to_owned()))]);
        }
    }
}
