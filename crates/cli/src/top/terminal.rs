//! Sets the terminal up in [`Screen::open`] and restores it when the screen is dropped, on a panic
//! and on a signal.
//!
//! A terminal may be closed at any time. Then all writes fail, including those that restore it or
//! print an error. ratatui's own functions print such errors, which panics, so they are not used
//! here. Reads from a closed terminal may block forever. SIGHUP is sent only to the session's
//! leader, so a closed terminal is handled like a SIGHUP.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::{Frame, Terminal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Maximum time for the view to end after a signal.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The terminal in raw mode, with the view.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<ClosableStdout>>,
    /// Set once the terminal fails a write.
    gone: Arc<AtomicBool>,
    /// The signal that was received; 0 if none was.
    signal: Arc<AtomicUsize>,
}

impl Screen {
    /// Sets the terminal up.
    pub(super) fn open() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
                .context("can't handle signals")?;
        }
        let watched = Arc::clone(&signal);
        std::thread::spawn(move || end_after_signal(&watched));
        let gone = Arc::new(AtomicBool::new(false));
        let terminal = take_over(ClosableStdout { out: io::stdout(), gone: Arc::clone(&gone) });
        let terminal = terminal.inspect_err(|_| give_back());
        let terminal = terminal.context("can't use the terminal: try --once")?;
        Ok(Self { terminal, gone, signal })
    }

    /// Returns `true` if a signal has requested that the view end.
    pub(super) fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        let drawn = self.terminal.draw(view).map(|_| ());
        if self.is_gone() {
            bail!("the terminal is gone");
        }
        drawn.context("can't write to the terminal")
    }

    /// Returns the key pressed within `wait`, if any. Other events end the wait too.
    pub(super) fn key(&self, wait: Duration) -> Result<Option<KeyEvent>> {
        let polled = event::poll(wait).or_else(|error| match error.kind() {
            io::ErrorKind::Interrupted => Ok(false), // a signal, which the caller checks
            _ => Err(error),
        });
        if !polled.context("can't read from the terminal")? {
            return Ok(None);
        }
        match event::read().context("can't read from the terminal")? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || is_closed()
    }

    /// Restores the terminal. If a signal ended the view, or the terminal is gone, ends the process as that
    /// signal (or SIGHUP) does; otherwise returns `ended`.
    pub(super) fn close(self, ended: Result<()>) -> Result<()> {
        let signal = match i32::try_from(self.signal.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => self.is_gone().then_some(SIGHUP),
            Ok(signal) => Some(signal),
        };
        drop(self);
        match signal {
            None => ended,
            Some(signal) => signal_hook::low_level::emulate_default_handler(signal)
                .context("can't end the process by its signal"),
        }
    }
}

/// Returns `true` if the terminal was closed.
fn is_closed() -> bool {
    !io::stdin().is_terminal() || !io::stdout().is_terminal()
}

/// Ends the process some time after a signal, in case the view does not: reading from a terminal
/// that is gone may block forever.
fn end_after_signal(signal: &AtomicUsize) {
    loop {
        std::thread::sleep(EXIT_TIMEOUT);
        let came = i32::try_from(signal.load(Ordering::Relaxed));
        let came = came.ok().filter(|came| *came > 0);
        if let Some(came) = came.or_else(|| is_closed().then_some(SIGHUP)) {
            std::thread::sleep(EXIT_TIMEOUT);
            give_back();
            // If this fails too, there is no terminal to report it on.
            let _ = signal_hook::low_level::emulate_default_handler(came);
            return;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Initializes the terminal, and installs a panic hook that restores it before the panic is
/// printed.
fn take_over(out: ClosableStdout) -> io::Result<Terminal<CrosstermBackend<ClosableStdout>>> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        print(panic);
    }));
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(out))
}

/// Restores the terminal. Ignores errors, because a closed terminal needs no restoring.
fn give_back() {
    let _ = ratatui::try_restore();
}

/// Standard output as a terminal that may be closed: writes never fail, and a failure is only
/// recorded. (ratatui prints an error if it cannot show the cursor when it is dropped.)
struct ClosableStdout {
    out: Stdout,
    gone: Arc<AtomicBool>,
}

impl ClosableStdout {
    fn noted<T>(&self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(_) => {
                self.gone.store(true, Ordering::Relaxed);
                Ok(otherwise)
            }
            Ok(done) => Ok(done),
        }
    }
}

impl Write for ClosableStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.noted(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.noted(flushed, ())
    }
}
