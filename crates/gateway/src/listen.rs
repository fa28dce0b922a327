//! Builds the HTTP server from the parts of actix-web's `HttpServer`, because each connection must
//! pass through a [`Stream`], which corrects HTTP/1.0 requests that actix-http would reject.

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
use service::settings::Origins;

use crate::dialect::{Dialects, Face};
use crate::hangup;
use crate::http10::Stream;
use crate::middleware::{catch_panics, cors, observe};
use crate::route;
use crate::state::State;

/// The maximum that actix-server allows.
const MAX_THREADS: usize = 512;
/// Maximum time for a client to close its side of a connection that we closed.
const DISCONNECT: Duration = Duration::from_secs(1);

/// Settings of the server.
pub(crate) struct Plan {
    /// Number of worker threads.
    pub(crate) threads: usize,
    /// Maximum time for a client to send its headers.
    pub(crate) client_timeout: Duration,
    /// The time for which an idle connection is kept open.
    pub(crate) idle: Duration,
    /// Maximum time for requests in flight to finish at shutdown.
    pub(crate) grace: Duration,
}

/// The sockets of a gateway.
#[derive(Debug)]
pub struct Listeners {
    /// For clients; for operators too, if they have none of their own.
    pub public: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, admin: None }
    }
}

/// Serves the dialects' routes on `listeners` until the returned server is stopped.
///
/// # Errors
/// If a socket cannot be used.
pub(crate) fn serve(
    listeners: Listeners,
    plan: &Plan,
    state: &web::Data<State>,
    dialects: &Dialects,
) -> io::Result<Server> {
    let mut server = ServerBuilder::new()
        .workers(plan.threads.clamp(1, MAX_THREADS))
        .disable_signals()
        .shutdown_timeout(plan.grace.as_secs().max(1));
    let Listeners { public, admin } = listeners;
    let face = if admin.is_some() { Face::Clients } else { Face::All };
    server = listen(server, public, face, plan, state, dialects)?;
    if let Some(admin) = admin {
        server = listen(server, admin, Face::Operators, plan, state, dialects)?;
    }
    Ok(server.run())
}

/// Adds a socket to the server.
fn listen(
    server: ServerBuilder,
    listener: TcpListener,
    face: Face,
    plan: &Plan,
    state: &web::Data<State>,
    dialects: &Dialects,
) -> io::Result<ServerBuilder> {
    let stopping = server.graceful_shutdown_signal();
    let (idle, client_timeout) = (plan.idle, plan.client_timeout);
    let (state, dialects) = (state.clone(), web::Data::new(dialects.clone()));
    let address = listener.local_addr()?;
    let (name, origins) = match face {
        Face::Operators => ("gateway-admin", Origins::None),
        Face::All | Face::Clients => ("gateway", state.options.cors_origins.clone()),
    };
    server.listen(name, listener, move || {
        let app = App::new()
            .app_data(state.clone())
            .app_data(dialects.clone())
            .wrap(from_fn(catch_panics))
            .wrap(cors(&origins))
            .wrap(from_fn(observe))
            .configure(|app| dialects.configure(app, face))
            .default_service(web::to(route::no_such_path))
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
    })
}
