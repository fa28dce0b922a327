//! Opens inputs: plain text, gzip or Zstandard, recognized by their first bytes.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest window of a Zstandard frame that is accepted, which bounds memory. `zstd` writes at most 8 MiB unless
/// it is told `--ultra` or `--long`, whose default is 128 MiB.
const MAX_WINDOW: u64 = 128 << 20;
/// The size of reads of compressed bytes.
const READ_BYTES: usize = 64 << 10;

/// An opened input.
pub(crate) struct Opened {
    /// Its text.
    pub(crate) reader: Box<dyn Read + Send>,
    /// Whether it is compressed, so that reading it takes time.
    pub(crate) is_compressed: bool,
}

/// Opens `source`. The number of bytes read from it is added to `read`.
pub(crate) fn open(source: impl Read + Send + 'static, read: Arc<AtomicU64>) -> io::Result<Opened> {
    let mut source = Counted { source, read };
    let mut magic = Vec::with_capacity(4);
    (&mut source).take(4).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
    let is_zstd = matches!(magic[..], [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
    let source = Cursor::new(magic).chain(source);
    let buffered = |source| BufReader::with_capacity(READ_BYTES, source);
    let reader: Box<dyn Read + Send> = if is_gzip {
        Box::new(MultiGzDecoder::new(buffered(source)))
    } else if is_zstd {
        Box::new(Frames::new(buffered(source)))
    } else {
        Box::new(source)
    };
    Ok(Opened { reader, is_compressed: is_gzip || is_zstd })
}

/// Counts the bytes that are read.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// Reads all frames of a Zstandard file, as RFC 8878 describes them: concatenated, with skippable ones between.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// A frame is being read.
    is_open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, is_open: false }
    }

    /// Begins the next frame. Returns `false` at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    fn check_sum(&self) -> io::Result<()> {
        let (written, found) =
            (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        match written {
            Some(written) if Some(written) != found => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a frame is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_open {
                if !self.begin()? {
                    return Ok(0);
                }
                self.is_open = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.check_sum()?;
                self.is_open = false;
                continue;
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
        }
    }
}
