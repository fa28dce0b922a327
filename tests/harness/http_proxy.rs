//! An HTTP proxy as companies have them: it forwards requests with a whole address, opens tunnels, and
//! wants to know who asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Leads everything to one port of this machine, whatever host is asked for.
pub struct HttpProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    /// Leads to `target`. Who does not show `credentials` in Basic authentication gets a 407.
    ///
    /// # Panics
    /// If no port is free.
    pub fn to(target: u16, credentials: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client that breaks off is no concern of others.
                thread::spawn(move || drop(serve(client, target, credentials, &seen)));
            }
        });
        Self { port, heads }
    }

    /// The address that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The head of the first request of each connection since the last call.
    ///
    /// # Panics
    /// Never: no thread panics while it holds the lock.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().expect("nobody panics with it"))
    }
}

fn serve(
    mut client: TcpStream,
    target: u16,
    credentials: &str,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    seen.lock().expect("nobody panics with it").push(head.clone());
    if !head.contains(&format!("Proxy-Authorization: Basic {credentials}\r\n")) {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refusal.as_bytes());
    }
    let mut server = TcpStream::connect(("127.0.0.1", target))?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        // Servers take whole addresses, too (RFC 9112, section 3.2.2).
        server.write_all(head.as_bytes())?;
    }
    let (mut back, mut to_client) = (server.try_clone()?, client);
    thread::spawn(move || std::io::copy(&mut back, &mut to_client));
    let mut rest = reader.by_ref().take(u64::MAX);
    std::io::copy(&mut rest, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)
}
