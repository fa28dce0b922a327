//! Pauses after each flush of the console.

use std::io::{self, Write};

use super::writer::PAUSE;

/// Lets lines that arrive during the pause be written together.
pub(super) struct Paced<W>(pub(super) W);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        std::thread::sleep(PAUSE);
        flushed
    }
}
