//! A TCP proxy between two processes that can be cut and healed while both run.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often a held direction checks whether it may go on, and an idle one whether the proxy was
/// dropped.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Forwards connections from a port of its own to a target. While it is cut, data is held back and
/// not dropped, and connections stay open: like a network that has failed silently.
pub struct Proxy {
    port: u16,
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    requests_held: AtomicBool,
    replies_held: AtomicBool,
    /// A request that contains these bytes makes the proxy hold replies.
    trap: Mutex<Option<Vec<u8>>>,
    over: AtomicBool,
}

impl Switches {
    /// Checks a request before it is forwarded.
    fn inspect(&self, request: &[u8]) {
        let mut trap = self.trap.lock().expect("the lock is poisoned");
        let is_in = |mark: &Vec<u8>| request.windows(mark.len()).any(|part| part == mark);
        if trap.as_ref().is_some_and(is_in) {
            *trap = None;
            self.replies_held.store(true, Ordering::Relaxed);
        }
    }
}

impl Proxy {
    /// Starts a proxy to `port` of this machine.
    ///
    /// # Panics
    /// If no port is free.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let switches = Arc::new(Switches::default());
        let shared = switches.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let switches = shared.clone();
                thread::spawn(move || forward(client, target, switches));
            }
        });
        Self { port, switches }
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds both directions, also of new connections.
    pub fn cut(&self) {
        self.switches.requests_held.store(true, Ordering::Relaxed);
        self.hold_replies();
    }

    /// Forwards requests and holds replies.
    pub fn hold_replies(&self) {
        self.switches.replies_held.store(true, Ordering::Relaxed);
    }

    /// Holds replies from the next request on that contains `mark`: that request is executed, and
    /// its sender gets no reply.
    ///
    /// # Panics
    /// Never: no code panics while it holds the lock.
    pub fn hold_replies_from(&self, mark: &str) {
        *self.switches.trap.lock().expect("the lock is poisoned") = Some(mark.into());
    }

    /// Whether replies are held.
    pub fn holds_replies(&self) -> bool {
        self.switches.replies_held.load(Ordering::Relaxed)
    }

    /// Forwards everything again, held data first.
    pub fn heal(&self) {
        self.switches.requests_held.store(false, Ordering::Relaxed);
        self.switches.replies_held.store(false, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.switches.over.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Connects to the target once requests may pass, and copies bytes in both directions.
fn forward(client: TcpStream, target: u16, switches: Arc<Switches>) {
    while switches.requests_held.load(Ordering::Relaxed) {
        thread::sleep(POLL_INTERVAL);
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
    let shared = switches.clone();
    let replies = thread::spawn(move || carry(server_in, client, &shared, Direction::Replies));
    carry(client_in, server, &switches, Direction::Requests);
    let _ = replies.join();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

/// Copies bytes in one direction until either end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, switches: &Switches, direction: Direction) {
    let held = match direction {
        Direction::Requests => &switches.requests_held,
        Direction::Replies => &switches.replies_held,
    };
    let wait_while_held = || {
        while held.load(Ordering::Relaxed) && !switches.over.load(Ordering::Relaxed) {
            thread::sleep(POLL_INTERVAL);
        }
    };
    let _ = from.set_read_timeout(Some(POLL_INTERVAL));
    let _ = to.set_nodelay(true);
    let mut bytes = [0; 16 * 1024];
    while !switches.over.load(Ordering::Relaxed) {
        let read = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        if direction == Direction::Requests {
            switches.inspect(&bytes[..read]);
        }
        wait_while_held();
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // The end of a connection is held back too.
    wait_while_held();
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
