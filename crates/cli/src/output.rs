//! The two outputs of every command. Standard output gets the requested data, standard error the
//! notes about it.
//!
//! Either may fail at any time: its reader has exited, its disk is full, its terminal is closed.
//! That never causes a panic here. A failure of standard output is an [`OutputError`] with its own
//! exit code; a failure of standard error is ignored. The id of an accepted task is written to the
//! other output if the first fails.

use std::io::{self, ErrorKind, IsTerminal, Stderr, Stdout, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::text::harmless;

/// The exit code after a write to a closed pipe: 128 + SIGPIPE, as shells report it.
const CLOSED: u8 = 141;
/// The exit code if a task was accepted and its id could not be written to either output.
const ID_LOST: u8 = 4;

/// The reason why standard output could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The reader has exited, as `head` does after the lines it needs.
    #[error("the reader of standard output has closed it")]
    Closed,
    /// The disk is full, the terminal is closed, …
    #[error("standard output can't be written to")]
    Failed(#[source] io::Error),
    /// Standard error failed too.
    #[error("neither standard output nor standard error can be written to")]
    Lost,
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// The outputs of a command.
pub(crate) struct Output<O: Write = Stdout, N: Write = Stderr> {
    out: O,
    notes: N,
    /// Standard output is a terminal, so control sequences in a model's text are escaped.
    guarded: bool,
}

impl Output {
    /// Returns the process's own outputs.
    pub(crate) fn standard() -> Self {
        let out = io::stdout();
        Self { guarded: out.is_terminal(), out, notes: io::stderr() }
    }
}

impl<O: Write, N: Write> Output<O, N> {
    /// Prints text and flushes. The text ends with a line end.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), OutputError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), OutputError> {
        self.print(&format!("{text}\n"))
    }

    /// Prints a part of a model's text. For a terminal, its control sequences are escaped; a pipe
    /// or a file gets it unchanged.
    pub(crate) fn answer(&mut self, text: &str) -> Result<(), OutputError> {
        if self.guarded { self.print(&harmless(text)) } else { self.print(text) }
    }

    /// Writes a note as a line to standard error.
    pub(crate) fn note(&mut self, text: &str) {
        self.aside(&format!("{text}\n"));
    }

    /// Writes a part of a line to standard error.
    pub(crate) fn aside(&mut self, text: &str) {
        // There is no other place to report this failure.
        let _ = self.try_note(text);
    }

    fn try_note(&mut self, text: &str) -> io::Result<()> {
        self.notes.write_all(text.as_bytes())?;
        self.notes.flush()
    }

    /// Writes a question to standard error.
    ///
    /// # Errors
    /// If the write fails.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<()> {
        self.try_note(question)
    }

    /// Prints text that must not be lost: if standard output fails, writes it to standard error.
    /// The failure is returned in any case.
    ///
    /// # Errors
    /// [`OutputError::Lost`] if both fail.
    pub(crate) fn print_or_note(&mut self, text: &str) -> Result<(), OutputError> {
        self.print(text).map_err(|error| match self.try_note(text) {
            Ok(()) => error,
            Err(_) => OutputError::Lost,
        })
    }

    /// Prints the id of an accepted task.
    ///
    /// # Errors
    /// If standard output fails, even if the id was written to standard error instead.
    pub(crate) fn accepted(&mut self, task_id: &str) -> Result<(), OutputError> {
        self.line(task_id).map_err(|error| match self.try_note(&format!("task {task_id}\n")) {
            Ok(()) => error,
            Err(_) => OutputError::Lost,
        })
    }

    /// Writes the id of an accepted task to standard error, then runs `work`, which prints the
    /// answer. If the first write and the work fail, prints the id on standard output.
    ///
    /// # Errors
    /// The error of `work`, or [`OutputError::Lost`].
    pub(crate) fn announced(
        &mut self,
        task_id: &str,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let line = format!("task {task_id}\n");
        let said = self.try_note(&line);
        work(self).map_err(|error| {
            if said.is_ok() || self.print(&line).is_ok() { error } else { OutputError::Lost.into() }
        })
    }

    /// Prints the error that ends the program, and returns its exit code.
    pub(crate) fn print_final_error(&mut self, error: &anyhow::Error) -> ExitCode {
        match error.downcast_ref() {
            // A reader that has exited is not a failure, so nothing is printed.
            Some(OutputError::Closed) => return ExitCode::from(CLOSED),
            Some(OutputError::Lost) => return ExitCode::from(ID_LOST),
            _ => {}
        }
        self.note(&service::logs::exit_line("qwen-queue", error));
        worker::process::exit_code(error)
    }
}

#[cfg(test)]
impl Output<Vec<u8>, Vec<u8>> {
    /// Creates outputs that keep their text.
    pub(crate) fn kept() -> Self {
        Self { out: Vec::new(), notes: Vec::new(), guarded: false }
    }

    /// Returns the text of standard output and of standard error.
    pub(crate) fn into_texts(self) -> (String, String) {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(self.out), text(self.notes))
    }
}

/// Writes a line to standard error.
pub(crate) fn note(text: &str) {
    Output::standard().note(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts this many bytes, then fails.
    struct Full(usize, ErrorKind);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn of<O: Write, N: Write>(out: O, notes: N) -> Output<O, N> {
        Output { out, notes, guarded: false }
    }

    #[test]
    fn control_characters_in_an_answer_are_escaped() {
        let mut shown = Output { guarded: true, ..Output::kept() };
        shown.answer("Grüße:\n\t\u{1b}]0;evil\u{7}").unwrap();
        assert_eq!(shown.into_texts().0, "Grüße:\n\t\\u001b]0;evil\\u0007");
    }

    #[test]
    fn task_id_falls_back_to_the_other_output() {
        let mut output = of(Full(0, ErrorKind::BrokenPipe), Vec::new());
        assert!(matches!(output.accepted("0192"), Err(OutputError::Closed)));
        assert_eq!(output.notes, b"task 0192\n");
        let mut output = of(Full(2, ErrorKind::StorageFull), Vec::new());
        assert!(matches!(output.accepted("0192"), Err(OutputError::Failed(_))));
        assert_eq!(
            output.notes, b"task 0192\n",
            "the whole line, though a part was printed before"
        );
        let mut output = of(Full(2, ErrorKind::StorageFull), Full(3, ErrorKind::StorageFull));
        assert!(matches!(output.accepted("0192"), Err(OutputError::Lost)));
    }

    #[test]
    fn task_id_is_printed_if_its_announcement_and_the_work_failed() {
        let failed = |_: &mut Output<Vec<u8>, Full>| -> Result<()> { anyhow::bail!("no answer") };
        let mut output = of(Vec::new(), Full(0, ErrorKind::StorageFull));
        assert_eq!(output.announced("0192", failed).unwrap_err().to_string(), "no answer");
        assert_eq!(output.out, b"task 0192\n");
        let mut output = of(Vec::new(), Full(0, ErrorKind::StorageFull));
        output.announced("0192", |output| Ok(output.line("answer")?)).unwrap();
        assert_eq!(output.out, b"answer\n", "the answer was printed, so its id is not needed");
        let (full, closed) = (Full(0, ErrorKind::StorageFull), Full(0, ErrorKind::BrokenPipe));
        let error = of(closed, full).announced("0192", |output| Ok(output.line("answer")?));
        assert!(matches!(error.unwrap_err().downcast_ref(), Some(OutputError::Lost)));
    }
}
