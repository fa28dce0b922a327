//! The two outputs of every verb. Standard output carries what was asked for, standard error what there
//! is to say about it.
//!
//! Either may go away at any time: its reader has seen enough, its disk is full, its terminal is closed.
//! Nothing here panics then. What standard output does not take is an [`OutputError`], and the exit code
//! says which; what standard error does not take is dropped. The id of an accepted task goes to the other
//! output if its own fails.

use std::io::{self, ErrorKind, IsTerminal, Stderr, Stdout, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::text::harmless;

/// The exit code of a program that wrote to a pipe that nobody reads any more: 128 and SIGPIPE, as shells
/// report it of others.
const CLOSED: u8 = 141;
/// The exit code when a task was accepted and its id could be written nowhere.
const ID_LOST: u8 = 4;

/// Why standard output does not take what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Whoever read it has gone, as `head` does when it has seen enough.
    #[error("the reader of standard output has gone")]
    Closed,
    /// The disk is full, the terminal is gone, …
    #[error("standard output can't be written to")]
    Failed(#[source] io::Error),
    /// Nor does standard error take it.
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

/// Where a verb writes.
pub(crate) struct Output<O: Write = Stdout, N: Write = Stderr> {
    out: O,
    notes: N,
    /// Standard output is a terminal: what models write must not steer it.
    guarded: bool,
}

impl Output {
    /// The process's own two.
    pub(crate) fn standard() -> Self {
        let out = io::stdout();
        Self { guarded: out.is_terminal(), out, notes: io::stderr() }
    }
}

impl<O: Write, N: Write> Output<O, N> {
    /// Prints text that ends its last line.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), OutputError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), OutputError> {
        self.print(&format!("{text}\n"))
    }

    /// Prints a part of what a model writes. A pipe or a file gets it as it is, a terminal without anything
    /// that steers it.
    pub(crate) fn answer(&mut self, text: &str) -> Result<(), OutputError> {
        if self.guarded { self.print(&harmless(text)) } else { self.print(text) }
    }

    /// Says something about it on a line of standard error.
    pub(crate) fn note(&mut self, text: &str) {
        self.aside(&format!("{text}\n"));
    }

    /// Says a part of a line on standard error.
    pub(crate) fn aside(&mut self, text: &str) {
        // Nobody is left to be told that nobody listens.
        let _ = self.try_aside(text);
    }

    fn try_aside(&mut self, text: &str) -> io::Result<()> {
        self.notes.write_all(text.as_bytes())?;
        self.notes.flush()
    }

    /// Asks on standard error.
    ///
    /// # Errors
    /// When it does not take the question.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<()> {
        self.try_aside(question)
    }

    /// Prints what must not be lost: if standard output does not take it, standard error gets it. It is an
    /// error all the same.
    ///
    /// # Errors
    /// [`OutputError::Lost`] when neither takes it.
    pub(crate) fn print_anywhere(&mut self, text: &str) -> Result<(), OutputError> {
        self.print(text).map_err(|error| match self.try_aside(text) {
            Ok(()) => error,
            Err(_) => OutputError::Lost,
        })
    }

    /// Prints the id of a task that was accepted.
    ///
    /// # Errors
    /// When standard output does not take it, though standard error may have.
    pub(crate) fn accepted(&mut self, task_id: &str) -> Result<(), OutputError> {
        self.line(task_id).map_err(|error| match self.try_aside(&format!("task {task_id}\n")) {
            Ok(()) => error,
            Err(_) => OutputError::Lost,
        })
    }

    /// Says the id of an accepted task on standard error, then does `work` that prints its answer. If the
    /// id could not be said and the work fails, standard output gets the id.
    ///
    /// # Errors
    /// That of the work, or [`OutputError::Lost`].
    pub(crate) fn announced(
        &mut self,
        task_id: &str,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let line = format!("task {task_id}\n");
        let said = self.try_aside(&line);
        work(self).map_err(|error| {
            if said.is_ok() || self.print(&line).is_ok() { error } else { OutputError::Lost.into() }
        })
    }

    /// Says why the program ends, and with which code.
    pub(crate) fn last_word(&mut self, error: &anyhow::Error) -> ExitCode {
        match error.downcast_ref() {
            // The reader did not fail, and wants to hear no more.
            Some(OutputError::Closed) => return ExitCode::from(CLOSED),
            Some(OutputError::Lost) => return ExitCode::from(ID_LOST),
            _ => {}
        }
        self.note(&format!("qwen-queue: {error:#}"));
        worker::process::exit_code(error)
    }
}

#[cfg(test)]
impl Output<Vec<u8>, Vec<u8>> {
    /// One whose text is kept.
    pub(crate) fn kept() -> Self {
        Self { out: Vec::new(), notes: Vec::new(), guarded: false }
    }

    /// What was printed, and what was said about it.
    pub(crate) fn into_texts(self) -> (String, String) {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(self.out), text(self.notes))
    }
}

/// Says something on a line of standard error.
pub(crate) fn note(text: &str) {
    Output::standard().note(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
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
    fn a_model_steers_no_terminal() {
        let mut shown = Output { guarded: true, ..Output::kept() };
        shown.answer("Grüße:\n\t\u{1b}]0;evil\u{7}").unwrap();
        assert_eq!(shown.into_texts().0, "Grüße:\n\t\\u001b]0;evil\\u0007");
    }

    #[test]
    fn an_id_goes_to_the_output_that_takes_it() {
        let mut output = of(Full(0, ErrorKind::BrokenPipe), Vec::new());
        assert!(matches!(output.accepted("0192"), Err(OutputError::Closed)));
        assert_eq!(output.notes, b"task 0192\n");
        let mut output = of(Full(2, ErrorKind::StorageFull), Vec::new());
        assert!(matches!(output.accepted("0192"), Err(OutputError::Failed(_))));
        assert_eq!(output.notes, b"task 0192\n", "whole, though a part was printed");
        let mut output = of(Full(2, ErrorKind::StorageFull), Full(3, ErrorKind::StorageFull));
        assert!(matches!(output.accepted("0192"), Err(OutputError::Lost)));
    }

    #[test]
    fn an_announced_id_is_printed_if_it_could_not_be_said_and_the_work_failed() {
        let failed = |_: &mut Output<Vec<u8>, Full>| -> Result<()> { anyhow::bail!("no answer") };
        let mut output = of(Vec::new(), Full(0, ErrorKind::StorageFull));
        assert_eq!(output.announced("0192", failed).unwrap_err().to_string(), "no answer");
        assert_eq!(output.out, b"task 0192\n");
        let mut output = of(Vec::new(), Full(0, ErrorKind::StorageFull));
        output.announced("0192", |output| Ok(output.line("answer")?)).unwrap();
        assert_eq!(output.out, b"answer\n", "who has the answer needs no id");
        let (full, closed) = (Full(0, ErrorKind::StorageFull), Full(0, ErrorKind::BrokenPipe));
        let error = of(closed, full).announced("0192", |output| Ok(output.line("answer")?));
        assert!(matches!(error.unwrap_err().downcast_ref(), Some(OutputError::Lost)));
    }
}
