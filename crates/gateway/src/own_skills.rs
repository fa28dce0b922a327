//! Reads the operator's own skills again when one changes (`SKILLS_DIR`).

use std::sync::Arc;
use std::time::Duration;

use skills::{Change, Skills};

/// The interval at which the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Follows the folder for as long as it is polled.
pub(crate) async fn follow(skills: Arc<Skills>) {
    loop {
        let looking = Arc::clone(&skills);
        if let Ok(changes) = tokio::task::spawn_blocking(move || looking.refresh()).await {
            changes.iter().for_each(log);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn log(change: &Change) {
    match change {
        Change::Loaded { name, file } => {
            tracing::info!(target: "gateway.skills", "the skill '{name}' is read from {}", file.display());
        }
        Change::Removed { name } => {
            tracing::info!(target: "gateway.skills", "the skill '{name}' is gone, with its file");
        }
        Change::Refused { file, reason, kept } => {
            let kept = kept.as_ref().map_or(String::new(), |name| {
                format!("; the version of '{name}' before stays in use")
            });
            tracing::warn!(target: "gateway.skills", "{} is refused, {reason}{kept}", file.display());
        }
        Change::Unreadable { reason } => {
            tracing::warn!(target: "gateway.skills", "the folder of skills can't be read: {reason}");
        }
    }
}
