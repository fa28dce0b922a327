//! The terminal's own state: taken over on [`Screen::open`], given back when it is dropped, on a panic
//! and on a signal.
//!
//! A terminal may be closed at any time. Then nothing can be written to it, not even what gives it back
//! or what says so; ratatui's own functions print such errors, which panics, so they are not used here.
//! Reading it never comes back. Only the leader of its session is sent SIGHUP, so a terminal that is gone
//! counts as one.

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

/// How long after a signal the view has to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// The terminal, taken over.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<MaybeGone>>,
    /// The terminal did not take what was written to it.
    gone: Arc<AtomicBool>,
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
        let gone = Arc::new(AtomicBool::new(false));
        let terminal = take_over(MaybeGone { out: io::stdout(), gone: Arc::clone(&gone) });
        let terminal = terminal.inspect_err(|_| give_back());
        let terminal = terminal.context("the terminal can't be used: try --once")?;
        Ok(Self { terminal, gone, signal })
    }

    /// Whether it is time to go.
    pub(super) fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        let drawn = self.terminal.draw(view).map(|_| ());
        if self.is_gone() {
            bail!("the terminal is gone");
        }
        drawn.context("the terminal can't be written to")
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

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || is_closed()
    }

    /// Gives the terminal back; ends the process as the signal asked if one came, or the terminal is gone.
    /// Otherwise returns what the view ended with.
    pub(super) fn close(self, ended: Result<()>) -> Result<()> {
        let signal = match i32::try_from(self.signal.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => self.is_gone().then_some(SIGHUP),
            Ok(signal) => Some(signal),
        };
        drop(self);
        match signal {
            None => ended,
            Some(signal) => signal_hook::low_level::emulate_default_handler(signal)
                .context("the signal can't be passed on"),
        }
    }
}

/// Whether the terminal was closed.
fn is_closed() -> bool {
    !io::stdin().is_terminal() || !io::stdout().is_terminal()
}

/// Ends the process some time after a signal, should the view not: reading a terminal that is gone never
/// comes back.
fn end_after_signal(signal: &AtomicUsize) {
    loop {
        std::thread::sleep(FAREWELL);
        let came = i32::try_from(signal.load(Ordering::Relaxed));
        let came = came.ok().filter(|came| *came > 0);
        if let Some(came) = came.or_else(|| is_closed().then_some(SIGHUP)) {
            std::thread::sleep(FAREWELL);
            give_back();
            // Should even that fail, there is nobody left to tell.
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

/// Takes the terminal over, and sees to it that a panic gives it back before it is printed.
fn take_over(out: MaybeGone) -> io::Result<Terminal<CrosstermBackend<MaybeGone>>> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        print(panic);
    }));
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(out))
}

/// Gives the terminal back. A terminal that is gone needs nothing.
fn give_back() {
    let _ = ratatui::try_restore();
}

/// Standard output as a terminal that may be gone: it never fails, and what it did not take is noted.
/// (ratatui prints the error of showing the cursor when it is dropped.)
struct MaybeGone {
    out: Stdout,
    gone: Arc<AtomicBool>,
}

impl MaybeGone {
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

impl Write for MaybeGone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.noted(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.noted(flushed, ())
    }
}
