//! Processes of this program that the bench starts and ends, as a user would run them.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::redis::free_port;

/// Maximum time until a gateway listens.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A process in a temporary folder, which has its logs. Dropping it kills the process.
pub(super) struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts `qwen-queue ROLE` with these settings in addition to the environment's.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(role: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new(std::env::current_exe()?)
            .arg(role)
            .current_dir(folder.path()) // contains no .env and no settings file
            .env_remove("QWEN_QUEUE_CONFIG")
            .envs(settings.iter().copied())
            .envs([("LOG_DIR", "logs"), ("LOG_LEVEL", "info")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start the {role}"))?;
        Ok(Self { child, folder })
    }

    /// Starts `qwen-queue gateway` on a free port and waits until it listens.
    ///
    /// # Errors
    /// If it ends or does not listen in time.
    pub(super) fn gateway(
        redis_url: &str,
        key: &str,
        model: &str,
        more: &[(&str, &str)],
    ) -> Result<(Self, SocketAddr)> {
        let port = free_port()?;
        let port_text = port.to_string();
        let mut settings = vec![("REDIS_URL", redis_url), ("API_KEYS", key), ("MODEL_NAME", model)];
        settings.extend([("HOST", "127.0.0.1"), ("PORT", &*port_text)]);
        settings.extend_from_slice(more);
        let mut process = Self::start("gateway", &settings)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let until = Instant::now() + TIMEOUT;
        while TcpStream::connect(address).is_err() {
            process.check("gateway")?;
            if Instant::now() > until {
                bail!("the gateway does not answer on {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok((process, address))
    }

    /// Checks that the process runs.
    ///
    /// # Errors
    /// If it has ended; the message has its log.
    pub(super) fn check(&mut self, role: &str) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the {role} ended at once: {status}\n{}", self.log()),
            None => Ok(()),
        }
    }

    /// Returns the process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the content of its `app.log`.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("logs/app.log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
