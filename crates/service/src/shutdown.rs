//! SIGTERM and SIGINT as one token: the first asks everything to end well, the second ends the
//! process at once.

use tokio::signal::unix::{SignalKind, signal};
pub use tokio_util::sync::CancellationToken;

/// The exit code of a process that was told twice.
const EXIT_FORCED: i32 = 130;

/// Listens from now on. The token is cancelled by the first signal.
///
/// # Errors
/// When the process may not listen to signals.
pub fn on_signal() -> std::io::Result<CancellationToken> {
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
