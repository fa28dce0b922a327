//! Notices that a client hung up while its answer is still to come. The server itself must not
//! care: a client may shut its writing side and still read (`nc -N`). So whoever waits asks here and
//! ends its waiting early, with an answer for those who listen still.

use std::io;
use std::net::TcpStream as Plain;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use tokio::io::Interest;

/// How long a line that has something unread (a pipelined request) is left alone.
const UNREAD_PAUSE: Duration = Duration::from_secs(1);

/// A second handle on a connection's socket, kept beside the connection.
struct Line(OwnedFd);

/// Keeps a handle on a fresh connection for [`hung_up`].
pub(crate) fn remember(connection: &TcpStream, data: &mut Extensions) {
    if let Ok(handle) = connection.as_fd().try_clone_to_owned() {
        data.insert(Line(handle));
    }
}

/// The client's end of a request's connection, to listen to.
pub(crate) struct ClientEnd(Option<TcpStream>);

impl ClientEnd {
    /// Listens to the connection that a request came on.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        // Without a handle (no file descriptors left) nobody is ever seen to hang up.
        Self(request.conn_data::<Line>().and_then(|line| listen(line).ok()))
    }

    /// Waits until the client hangs up; it sends nothing more then. Cancel-safe.
    pub(crate) async fn hung_up(&self) {
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
        // What came is the server's to read; here it only must not wake us again and again.
        let unread: io::Result<()> =
            stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        drop(unread);
        tokio::time::sleep(UNREAD_PAUSE).await;
    }
}
