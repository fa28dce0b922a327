//! Runs the commands with which operators read answers of skills, in the place of the built-in parsers.
//!
//! | module  | contents |
//! |---------|----------|
//! | `find`  | finds a command in the operator's folder |
//! | `run`   | runs a program within limits of time, memory and output |
//! | `reply` | what a command is told, and what it replies |

mod find;
mod reply;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use protocol::{SkillUse, VisionFamily, VisualKind};
use skills::marks::Picture;
use skills::read::{Answer, Reading};
use tokio::sync::Semaphore;

use self::run::{Limits, run};

/// The commands of a worker that run at the same time.
const AT_ONCE: usize = 4;

/// The commands in a folder, if the operator has one.
pub(crate) struct Commands {
    folder: Option<PathBuf>,
    limits: Limits,
    running: Semaphore,
}

impl Commands {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, limits: Limits::default(), running: Semaphore::new(AT_ONCE) }
    }

    /// Reads an answer by a command, which is killed if this is dropped.
    ///
    /// # Errors
    /// Says why there is no reading. The reason is for the client, and has no text of the command, which is logged.
    pub(crate) async fn read(
        &self,
        name: &str,
        answer: &Answer<'_>,
        skill: &SkillUse,
        family: Option<VisionFamily>,
        pictures: &[(VisualKind, Picture)],
    ) -> Result<Reading, String> {
        let folder = self.folder.as_deref().ok_or("this worker runs no commands")?;
        let program = find::find(folder, name)?;
        let told = reply::told(answer, skill, family, pictures);
        let _running = self.running.acquire().await.map_err(|error| error.to_string())?;
        let ended = run(&program, told.as_bytes(), &self.limits).await;
        if !ended.messages.is_empty() {
            tracing::warn!(
                target: "worker.commands",
                "the command {name} says: {}", ended.messages.escape_debug()
            );
        }
        reply::parse(&ended.output?, pictures)
    }
}
