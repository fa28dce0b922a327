//! Standard output as the place for what models write.

use std::io::{self, IsTerminal, Write};

use crate::text::harmless;

/// Where an answer goes: to a pipe or a file as it is, to a terminal without anything that steers it.
pub(crate) fn answer() -> Box<dyn Write> {
    let stdout = io::stdout();
    if stdout.is_terminal() { Box::new(Guarded(stdout)) } else { Box::new(stdout) }
}

/// Escapes what a terminal obeys. Each write must be whole text.
struct Guarded<W>(W);

impl<W: Write> Write for Guarded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(harmless(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_steers_no_terminal() {
        let mut shown = Guarded(Vec::new());
        shown.write_all("Grüße:\n\t\u{1b}]0;evil\u{7}".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(shown.0).unwrap(), "Grüße:\n\t\\u001b]0;evil\\u0007");
    }
}
