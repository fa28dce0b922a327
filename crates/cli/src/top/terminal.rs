//! The terminal's own state: taken over on [`Screen::open`], given back when it is dropped, on a panic
//! and on a signal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// How long after a signal the view has to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// The terminal, taken over.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    /// The signal that came; 0 while none has.
    signal: Arc<AtomicUsize>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
                .context("signals can't be listened to")?;
        }
        let watched = Arc::clone(&signal);
        std::thread::spawn(move || end_after_signal(&watched));
        // Gives the terminal back on a panic, too.
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore());
        Ok(Self { terminal: terminal.context("the terminal can't be used: try --once")?, signal })
    }

    /// Whether it is time to go.
    pub(super) fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        self.terminal.draw(view).map(|_| ()).context("the terminal can't be written to")
    }

    /// A key, if one is pressed within `wait`. Anything else that happens ends the wait as well.
    pub(super) fn key(&self, wait: Duration) -> Result<Option<KeyEvent>> {
        let polled = event::poll(wait).or_else(|error| match error.kind() {
            io::ErrorKind::Interrupted => Ok(false), // a signal: the caller looks
            _ => Err(error),
        });
        if !polled.context("the terminal can't be read")? {
            return Ok(None);
        }
        match event::read().context("the terminal can't be read")? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    /// Gives the terminal back; ends the process as the signal asked if it was one that ended the view.
    pub(super) fn close(self) -> Result<()> {
        let signal = self.signal.load(Ordering::Relaxed);
        drop(self);
        match i32::try_from(signal) {
            Ok(0) | Err(_) => Ok(()),
            Ok(signal) => signal_hook::low_level::emulate_default_handler(signal)
                .context("the signal can't be passed on"),
        }
    }
}

/// Ends the process some time after a signal, should the view not: reading a terminal that is gone never
/// comes back.
fn end_after_signal(signal: &AtomicUsize) {
    loop {
        std::thread::sleep(FAREWELL);
        let came = signal.load(Ordering::Relaxed);
        if let Ok(came @ 1..) = i32::try_from(came) {
            std::thread::sleep(FAREWELL);
            ratatui::restore();
            // Should even that fail, there is nobody left to tell.
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
