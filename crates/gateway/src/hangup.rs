//! Detects that a client disconnected before its response was sent.
//!
//! actix-web does not report this, because a client may shut down its writing side and still read
//! (`nc -N`). A handler that waits therefore watches [`ClientEnd`], and on a disconnect ends its wait
//! early with a regular response, in case the client still reads.

use std::io;
use std::net::TcpStream as Plain;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use tokio::io::Interest;

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

/// A request's connection, watched for the client's disconnect.
pub(crate) struct ClientEnd(Option<TcpStream>);

impl ClientEnd {
    /// Watches the connection that the request came on.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        // Without a duplicate (no file descriptors left), a disconnect is never detected.
        Self(request.conn_data::<Line>().and_then(|line| listen(line).ok()))
    }

    /// Waits until the client shuts down its writing side or disconnects. Cancel-safe.
    pub(crate) async fn wait_for_disconnect(&self) {
        match &self.0 {
            Some(stream) => closed(stream).await,
            None => std::future::pending().await,
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
