//! Runs the gateway on a socket and shuts it down gracefully.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use protocol::TenantId;
use queue::Broker;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use webhooks::{Deliverer, Schedule, Secret, Secrets, Sender};

pub use crate::auth::JwtUnusable;
use crate::auth::{Auth, Holder};
use crate::batches::Processor;
use crate::dialects;
use crate::listen::{self, Listeners, Plan};
use crate::measure;
use crate::options::{Keys, Options};
use crate::periodic::{self, Scheduler};
use crate::state::State;

/// The time for which an idle connection is kept open. Longer than the keep-alive of common proxies
/// (60 s in nginx), so that the proxy closes first and never reuses a connection that is being
/// closed.
const IDLE: Duration = Duration::from_secs(75);

/// The interval of reports of lines that were left out of the audit log.
const AUDIT_INTERVAL: Duration = Duration::from_secs(5);

/// The reason why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No API key is configured, so every request would be rejected.
    #[error("no API key is configured: set API_KEYS to one or more keys, separated by commas")]
    NoApiKeys,
    /// An API key is empty, or contains characters that a header cannot carry. Holds its index.
    #[error("API key number {0} is unusable: keys are visible ASCII characters without spaces")]
    UnusableApiKey(usize),
    /// TLS for webhooks cannot be set up.
    #[error(transparent)]
    Tls(#[from] webhooks::send::TlsUnusable),
    /// The keys for tokens are unusable.
    #[error(transparent)]
    Jwt(#[from] JwtUnusable),
    /// The operators' key is empty, or contains characters that a header cannot carry.
    #[error("the admin key is unusable: keys are visible ASCII characters without spaces")]
    UnusableAdminKey,
    /// The socket failed.
    #[error("the gateway's socket failed: {0}")]
    Io(#[from] io::Error),
}

/// Serves HTTP, runs batches, submits periodic tasks and delivers webhooks until `shutdown` completes. Then closes event streams, ends
/// waits, and lets requests and webhooks in flight finish for up to [`Options::shutdown_grace`].
///
/// # Errors
/// If the keys are unusable, TLS cannot be set up, or the socket fails.
pub async fn serve(
    listeners: impl Into<Listeners>,
    broker: Arc<dyn Broker>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    check_keys(&options.api_keys, options.admin_key.as_deref(), options.jwt.is_some())?;
    let threads = options.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let grace = options.shutdown_grace;
    let client_timeout = options.client_timeout;
    let (stop, stopping) = watch::channel(false);
    let deliverer = deliverer(Arc::clone(&broker), &options)?;
    let secrets = Arc::clone(&deliverer.secrets);
    let key_changes = options.key_changes.clone();
    let dialects = dialects::all(&options);
    // From here on, only hashes of the keys are kept.
    let mut options = options;
    let (api, admin) = (std::mem::take(&mut options.api_keys), options.admin_key.take());
    let keys = Keys { api, admin, jwt: options.jwt.take() };
    let auth = Arc::new(Auth::new(Arc::clone(&broker), &keys, &options)?);
    drop(keys);
    let state = State::new(broker, auth.clone(), Arc::clone(&secrets), options, stopping)?;

    let plan = Plan { threads, client_timeout, idle: IDLE, grace };
    let state = web::Data::new(state);
    service::metrics::install().add_source(measure::source(Arc::downgrade(&state)));
    let schedule_changes = state.options.schedule_changes.clone();
    let scheduler = Scheduler::new(state.clone().into_inner());
    let processor = Processor::new(state.clone().into_inner(), dialects::batch_requests());
    let server = listen::serve(listeners.into(), &plan, &state, &dialects)?;

    let authenticating = CancellationToken::new();
    let stop_auth = authenticating.clone().drop_guard(); // also if the server breaks off
    let authenticator = tokio::spawn(Arc::clone(&auth).run(authenticating));
    let deliveries = CancellationToken::new();
    let stop_with_us = deliveries.clone().drop_guard(); // also if the server breaks off
    let processing = tokio::spawn(processor.run());
    let scheduling = tokio::spawn(scheduler.run());
    let delivering = tokio::spawn(deliverer.run(deliveries.clone(), grace));
    let audit = state.options.audit.clone();
    let reloading = async {
        if let Some(changes) = key_changes {
            follow_keys(changes, &auth, &secrets).await;
        }
        std::future::pending::<()>().await; // the others' end is what counts
    };

    let rescheduling = async {
        if let Some(changes) = schedule_changes {
            periodic::follow(state.clone().into_inner(), changes).await;
        }
        std::future::pending::<()>().await; // the others' end is what counts
    };
    let skills = Arc::clone(&state.options.skills);
    let rereading = crate::own_skills::follow(skills);
    let auditing = async {
        loop {
            tokio::time::sleep(AUDIT_INTERVAL).await;
            audit.report_suppressed();
        }
    };
    let watching = measure::watch(state.clone().into_inner());
    let handle = server.handle();
    let stop_when_told = async {
        shutdown.await;
        stop.send_replace(true);
        deliveries.cancel();
        handle.stop(true).await;
        std::future::pending::<()>().await; // the server's own end is what counts
    };
    tokio::select! {
        ended = server => ended?,
        () = stop_when_told => {}
        () = reloading => {}
        () = auditing => {}
        () = rereading => {}
        () = rescheduling => {}
        () = watching => {}
    }
    audit.finish();
    drop(stop_with_us);
    stop.send_replace(true);
    drop(stop_auth);
    if let Err(error) = authenticator.await {
        tracing::error!(target: "gateway.server", "following changes of keys broke off: {error}");
    }
    if let Err(error) = processing.await {
        tracing::error!(target: "gateway.server", "the processing of batches broke off: {error}");
    }
    if let Err(error) = scheduling.await {
        tracing::error!(target: "gateway.server", "the submits of periodic tasks broke off: {error}");
    }
    if let Err(error) = delivering.await {
        tracing::error!(target: "gateway.server", "the delivery of webhooks broke off: {error}");
    }
    Ok(())
}

/// Creates the deliverer, which sends each task's outcome in the format of the task's dialect.
fn deliverer(queue: Arc<dyn Broker>, options: &Options) -> Result<Deliverer, ServeError> {
    let secrets: Secrets = webhook_secrets(&options.api_keys).collect();
    Ok(Deliverer {
        secrets: Arc::new(secrets.with_store(queue.clone())),
        queue,
        render: Arc::new(dialects::webhook_body),
        sender: Sender::new(options.guard(), webhooks::send::LIMIT)?,
        schedule: Schedule::standard(),
        tried: measure::webhook_tried,
    })
}

/// Returns each key's tenant together with the secret that signs the webhooks of its tasks.
fn webhook_secrets(keys: &[String]) -> impl Iterator<Item = (TenantId, Secret)> {
    keys.iter().map(|key| Holder::of_key(key)).map(|holder| (holder.tenant, holder.secret))
}

fn is_usable(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_keys(keys: &[String], admin: Option<&str>, has_jwt: bool) -> Result<(), ServeError> {
    // With the operators' key, keys can be created.
    if keys.is_empty() && admin.is_none() && !has_jwt {
        return Err(ServeError::NoApiKeys);
    }
    if let Some(index) = keys.iter().position(|key| !is_usable(key)) {
        return Err(ServeError::UnusableApiKey(index + 1));
    }
    if admin.is_some_and(|key| !is_usable(key)) {
        return Err(ServeError::UnusableAdminKey);
    }
    Ok(())
}

/// Applies each change of the keys.
async fn follow_keys(mut changes: watch::Receiver<Keys>, auth: &Auth, secrets: &Secrets) {
    loop {
        let keys = changes.borrow_and_update().clone();
        // The secrets are added first and never removed: a task's webhook may be due after its key was
        // removed.
        let changed =
            check_keys(&keys.api, keys.admin.as_deref(), keys.jwt.is_some()).and_then(|()| {
                secrets.add(webhook_secrets(&keys.api));
                Ok(auth.change(&keys)?)
            });
        match changed {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(target: "gateway.server", "the keys of before stay: {error}");
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_invalid_in_a_header_are_refused_by_number() {
        let check = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            check_keys(&keys, None, false).map_err(|error| error.to_string())
        };
        assert!(check(&["abc", "d-e_f!"]).is_ok());
        assert!(check(&[]).unwrap_err().contains("API_KEYS"));
        assert!(check(&["abc", ""]).unwrap_err().contains("number 2"));
        assert!(check(&["a b"]).unwrap_err().contains("number 1"));
        assert!(check(&["schlüssel"]).unwrap_err().contains("number 1"));
        let admin = check_keys(&["abc".to_owned()], Some("a b"), false);
        assert!(admin.unwrap_err().to_string().contains("admin key"));
    }
}
