//! Reads the file of the schedule again when the settings are reloaded.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::file::read;
use crate::state::State;

/// Follows reloads. A file that can't be used changes nothing.
pub(crate) async fn follow(state: Arc<State>, mut changes: watch::Receiver<Option<PathBuf>>) {
    changes.mark_unchanged();
    while changes.changed().await.is_ok() {
        let file = changes.borrow_and_update().clone();
        let reading = Arc::clone(&state);
        let read = tokio::task::spawn_blocking(move || read(file.as_deref(), &reading.options));
        match read.await {
            Ok(Ok(timetable)) => {
                let count = timetable.len();
                if state.periodic.replace(timetable) {
                    tracing::info!(target: "gateway.periodic", "the schedule is reloaded: {count} periodic tasks");
                }
            }
            Ok(Err(error)) => {
                let problems = error.to_string().replace(":\n  - ", ": ").replace("\n  - ", "; ");
                tracing::error!(target: "gateway.periodic", "the schedule of before stays: {problems}");
            }
            Err(panic) => {
                tracing::error!(target: "gateway.periodic", "reading the schedule panicked: {panic}");
            }
        }
    }
}
