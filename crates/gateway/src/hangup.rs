//! Detects that a client disconnected before its response was sent.
//!
//! actix-web does not report this, because a client may shut down its writing side and still read
//! (`nc -N`). A handler that waits therefore watches [`ClientEnd`], and on a disconnect ends its wait
//! early with a regular response, in case the client still reads. So does one whose client's credential
//! is not accepted any more.

use std::io;
use std::net::TcpStream as Plain;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpMessage, HttpRequest};
use tokio::io::Interest;

use crate::auth::Pass;
use crate::refusal::Refusal;

/// Pause between checks of a connection that has unread bytes (a pipelined request).
const UNREAD_PAUSE: Duration = Duration::from_secs(1);

/// A duplicate descriptor of a connection's socket, stored with the connection.
struct Line(OwnedFd);

/// Stores a duplicate of a new connection's socket, which [`ClientEnd::of`] uses.
pub(crate) fn remember(connection: &TcpStream, data: &mut Extensions) {
    if let Ok(handle) = connection.as_fd().try_clone_to_owned() {
        data.insert(Line(handle));
    }
}

/// A request's connection, watched for the client's disconnect, and its credential.
pub(crate) struct ClientEnd {
    connection: Option<TcpStream>,
    /// `None` for a request that needs no credential.
    pass: Option<Arc<Pass>>,
}

impl ClientEnd {
    /// Watches the connection that the request came on.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        // Without a duplicate (no file descriptors left), a disconnect is never detected.
        let connection = request.conn_data::<Line>().and_then(|line| listen(line).ok());
        Self { connection, pass: request.extensions().get().cloned() }
    }

    /// Waits until the client shuts down its writing side or disconnects. Cancel-safe.
    pub(crate) async fn wait_for_disconnect(&self) {
        match &self.connection {
            Some(stream) => closed(stream).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until [`Self::check`] has to be called again. Cancel-safe.
    pub(crate) async fn wait_for_change(&self) {
        match &self.pass {
            Some(pass) => pass.wait_for_change().await,
            None => std::future::pending().await,
        }
    }

    /// Checks that the credential is still accepted. Costs nothing while no key has changed.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) async fn check(&self) -> Result<(), Refusal> {
        match &self.pass {
            Some(pass) => Ok(pass.check().await?),
            None => Ok(()),
        }
    }
}

fn listen(line: &Line) -> io::Result<TcpStream> {
    TcpStream::from_std(Plain::from(line.0.try_clone()?))
}

async fn closed(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {}
            Ok(_) | Err(_) => return,
        }
        // The server reads the pending bytes; this only clears the readiness, which would wake us
        // again at once.
        let unread: io::Result<()> =
            stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        drop(unread);
        tokio::time::sleep(UNREAD_PAUSE).await;
    }
}
