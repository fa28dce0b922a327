//! Converts SIGTERM and SIGINT to a cancellation token: the first signal requests a graceful
//! shutdown, the second ends the process at once. SIGHUP also requests a graceful shutdown if the
//! process was started from a terminal; otherwise it reloads ([`crate::reload`]).

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};
pub use tokio_util::sync::CancellationToken;

/// The exit code after a second signal.
const EXIT_FORCED: i32 = 130;

/// Starts handling the signals. The first one cancels the returned token.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(target: "service.shutdown", "{name}: stopping; a second signal stops at once");
        cancelled.cancel();
        let name = next().await;
        tracing::warn!(target: "service.shutdown", "{name} again: stopping at once");
        std::process::exit(EXIT_FORCED);
    });
    Ok(token)
}

/// Starts handling SIGHUP.
///
/// # Errors
/// If the handler cannot be installed.
pub(crate) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Cancels `stop` on SIGHUP. Further ones are ignored: shell and kernel may each send one, so a
/// second does not mean that the user wants to end the process at once.
pub(crate) async fn stop_on_hangup(mut hangups: Signal, stop: CancellationToken) {
    while hangups.recv().await.is_some() {
        if !stop.is_cancelled() {
            tracing::info!(
                target: "service.shutdown",
                "SIGHUP: the terminal was closed: stopping (a process that was started without a terminal \
                 would reload its settings)"
            );
            stop.cancel();
        }
    }
}

/// Returns `true` if stdin, stdout or stderr is a terminal: SIGHUP then means that it was closed.
/// Under `nohup`, service managers and containers none of the three is a terminal.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}
