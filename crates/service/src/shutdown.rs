//! SIGTERM and SIGINT as one token: the first asks everything to end well, the second ends the
//! process at once. SIGHUP ends it well too where a terminal started it; elsewhere it reloads
//! ([`crate::reload`]).

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};
pub use tokio_util::sync::CancellationToken;

/// The exit code of a process that was told twice.
const EXIT_FORCED: i32 = 130;

/// Listens from now on. The token is cancelled by the first signal.
///
/// # Errors
/// When the process may not listen to signals.
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

/// Listens to SIGHUP from now on.
///
/// # Errors
/// When the process may not listen to signals.
pub(crate) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Cancels `stop` at a SIGHUP. Further ones change nothing: shell and kernel may each send one, and none is
/// the second signal of somebody who has lost patience.
pub(crate) async fn stop_on_hangup(mut hangups: Signal, stop: CancellationToken) {
    while hangups.recv().await.is_some() {
        if !stop.is_cancelled() {
            tracing::info!(
                target: "service.shutdown",
                "SIGHUP: the terminal was closed: stopping (a process that was started without a terminal \
                 would read its settings again)"
            );
            stop.cancel();
        }
    }
}

/// Whether a terminal started this process and shows what it says: then SIGHUP means that it was closed.
/// `nohup`, service managers and containers leave none of the three.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}
