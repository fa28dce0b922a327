//! Runs the gateway on a socket, and ends it well.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use queue::Broker;
use tokio::sync::watch;

use crate::hangup;
use crate::middleware::observe;
use crate::options::Options;
use crate::routes;
use crate::state::State;

/// How long an idle connection is kept for the next request: longer than the proxies before us
/// keep theirs (60 s in nginx), so that it is they who hang up.
const IDLE: Duration = Duration::from_secs(75);

/// The gateway can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without a key nobody could do anything.
    #[error("no API key is configured: set API_KEYS to one or more keys, separated by commas")]
    NoApiKeys,
    /// A key that is empty, or that no header can carry.
    #[error("API key number {0} is unusable: keys are visible ASCII characters without spaces")]
    UnusableApiKey(usize),
    /// An operators' key that is empty, or that no header can carry.
    #[error("the admin key is unusable: keys are visible ASCII characters without spaces")]
    UnusableAdminKey,
    /// The socket failed.
    #[error("the gateway's socket failed: {0}")]
    Io(#[from] io::Error),
}

/// Serves until `shutdown` completes; then streams are closed, waiting ends, requests in flight end (for up to
/// [`Options::shutdown_grace`]), and this returns.
///
/// # Errors
/// When the keys can't be used or the socket fails.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<dyn Broker>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    check_keys(&options.api_keys)?;
    if options.admin_key.as_ref().is_some_and(|key| !is_usable(key)) {
        return Err(ServeError::UnusableAdminKey);
    }
    let threads = options.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let grace = options.shutdown_grace;
    let client_timeout = options.client_timeout;
    let (stop, stopping) = watch::channel(false);
    let state = web::Data::new(State::new(broker, options, stopping));

    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).wrap(from_fn(observe)).configure(routes::configure)
    })
    .on_connect(hangup::remember)
    .workers(threads.max(1))
    .keep_alive(KeepAlive::Timeout(IDLE))
    .client_request_timeout(client_timeout)
    .tcp_nodelay(true)
    .disable_signals()
    .shutdown_timeout(grace.as_secs().max(1))
    .listen(listener)?
    .run();

    let handle = server.handle();
    let stop_when_told = async {
        shutdown.await;
        stop.send_replace(true);
        handle.stop(true).await;
        std::future::pending::<()>().await; // the server's own end is what counts
    };
    tokio::select! {
        ended = server => ended?,
        () = stop_when_told => {}
    }
    Ok(())
}

fn is_usable(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_keys(keys: &[String]) -> Result<(), ServeError> {
    if keys.is_empty() {
        return Err(ServeError::NoApiKeys);
    }
    match keys.iter().position(|key| !is_usable(key)) {
        Some(index) => Err(ServeError::UnusableApiKey(index + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_no_header_can_carry_are_refused_by_number() {
        let check = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            check_keys(&keys).map_err(|error| error.to_string())
        };
        assert!(check(&["abc", "d-e_f!"]).is_ok());
        assert!(check(&[]).unwrap_err().contains("API_KEYS"));
        assert!(check(&["abc", ""]).unwrap_err().contains("number 2"));
        assert!(check(&["a b"]).unwrap_err().contains("number 1"));
        assert!(check(&["schlüssel"]).unwrap_err().contains("number 1"));
    }
}
