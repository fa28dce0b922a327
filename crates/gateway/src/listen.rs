//! The server on its socket: what actix-web's `HttpServer` does, put together from the same parts, since
//! each connection goes through a [`Stream`] that mends what actix-http refuses of HTTP/1.0.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::Error;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};

use crate::hangup;
use crate::http10::Stream;
use crate::middleware::observe;
use crate::routes;
use crate::state::State;

/// actix-server takes no more threads.
const MAX_THREADS: usize = 512;
/// How long a client may take to close its side after ours.
const DISCONNECT: Duration = Duration::from_secs(1);

/// How connections are served.
pub(crate) struct Plan {
    /// Threads that serve them.
    pub(crate) threads: usize,
    /// How long a client may take to send its headers.
    pub(crate) client_timeout: Duration,
    /// How long an idle connection is kept.
    pub(crate) idle: Duration,
    /// How long requests in flight may take to end.
    pub(crate) grace: Duration,
}

/// Serves the routes on `listener` until it is told to stop.
///
/// # Errors
/// When the socket can't be used.
pub(crate) fn serve(
    listener: TcpListener,
    plan: &Plan,
    state: web::Data<State>,
) -> io::Result<Server> {
    let server = ServerBuilder::new()
        .workers(plan.threads.clamp(1, MAX_THREADS))
        .disable_signals()
        .shutdown_timeout(plan.grace.as_secs().max(1));
    let stopping = server.graceful_shutdown_signal();
    let (idle, client_timeout) = (plan.idle, plan.client_timeout);
    let address = listener.local_addr()?;
    let server = server.listen("gateway", listener, move || {
        let app = App::new()
            .app_data(state.clone())
            .wrap(from_fn(observe))
            .configure(routes::configure)
            .into_factory()
            .map_err(|error: Error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(idle))
            .client_request_timeout(client_timeout)
            .client_disconnect_timeout(DISCONNECT)
            .h1_allow_half_closed(true)
            .local_addr(address)
            .on_connect_ext(|stream: &Stream, data: &mut _| hangup::remember(stream.tcp(), data))
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(async |tcp: TcpStream| {
            let _ = tcp.set_nodelay(true); // slower without, and right all the same
            let peer = tcp.peer_addr().ok();
            Ok((Stream::new(tcp), Protocol::Http1, peer))
        })
        .and_then(http)
    })?;
    Ok(server.run())
}
