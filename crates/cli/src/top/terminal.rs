//! Sets the terminal up in [`Screen::open`] and restores it when the screen is dropped, on a panic
//! and on a signal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// How long after a signal the view may take to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The terminal in raw mode, with the view.
pub(super) struct Screen {
    terminal: DefaultTerminal,
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
        // Also restores the terminal on a panic.
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore());
        Ok(Self { terminal: terminal.context("can't use the terminal: try --once")?, signal })
    }

    /// Whether a signal has asked the view to end.
    pub(super) fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        self.terminal.draw(view).map(|_| ()).context("can't write to the terminal")
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

    /// Restores the terminal. If a signal ended the view, ends the process as that signal does.
    pub(super) fn close(self) -> Result<()> {
        let signal = self.signal.load(Ordering::Relaxed);
        drop(self);
        match i32::try_from(signal) {
            Ok(0) | Err(_) => Ok(()),
            Ok(signal) => signal_hook::low_level::emulate_default_handler(signal)
                .context("can't end the process by its signal"),
        }
    }
}

/// Ends the process some time after a signal, in case the view does not: reading from a terminal
/// that is gone may block forever.
fn end_after_signal(signal: &AtomicUsize) {
    loop {
        std::thread::sleep(EXIT_TIMEOUT);
        let came = signal.load(Ordering::Relaxed);
        if let Ok(came @ 1..) = i32::try_from(came) {
            std::thread::sleep(EXIT_TIMEOUT);
            ratatui::restore();
            // If this fails too, there is no terminal to report it on.
            let _ = signal_hook::low_level::emulate_default_handler(came);
            return;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
