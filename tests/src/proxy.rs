// SPDX-License-Identifier: Apache-2.0
//! A proxy that keeps every byte that it receives. It has addresses only for the hosts that a test
//! gives it, and never uses the machine's resolver. A client that reaches one of these hosts has
//! therefore used the proxy.
//!
//! It tunnels by CONNECT and by SOCKS 5. It forwards plain HTTP, request by request, without the
//! headers for the proxy itself. A script may respond instead. Not here: caching, TLS to the proxy,
//! chunked bodies.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The proxy's treatment of a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Forwards it, or opens the tunnel.
    Pass,
    /// Sends these bytes as the response, and closes the connection.
    Answer(Vec<u8>),
    /// Sends nothing and keeps the connection open.
    Hang,
}

impl Verdict {
    /// The proxy's own response with an HTML page, like squid's.
    pub fn page(status: &str, headers: &str) -> Verdict {
        let page = "<html><body>The proxy has something to say</body></html>";
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{headers}");
        let length = page.len();
        let text = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{page}");
        Verdict::Answer(text.into_bytes())
    }
}

struct Shared {
    /// `HOST:PORT`, and the address to connect to.
    hosts: BTreeMap<String, String>,
    script: Box<dyn Fn(&str) -> Verdict + Send + Sync>,
    /// The bytes received, per connection.
    received: Mutex<Vec<Vec<u8>>>,
    heads: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

/// A running proxy on a free port of 127.0.0.1; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// A proxy for these hosts: `HOST:PORT`, and the address to connect to.
    pub fn start(hosts: &[(&str, &str)]) -> Proxy {
        Proxy::with_script(hosts, |_| Verdict::Pass)
    }

    /// A proxy whose script sees each request's head first. For SOCKS the script sees
    /// `SOCKS HOST:PORT NAME:PASSWORD`.
    pub fn with_script(
        hosts: &[(&str, &str)],
        script: impl Fn(&str) -> Verdict + Send + Sync + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback");
        let address = listener.local_addr().unwrap();
        let own = |(name, place): &(&str, &str)| ((*name).to_owned(), (*place).to_owned());
        let shared = Arc::new(Shared {
            hosts: hosts.iter().map(own).collect(),
            script: Box::new(script),
            received: Mutex::default(),
            heads: Mutex::default(),
            sockets: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let proxy = Proxy { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shared.stopping.load(Ordering::SeqCst) {
                    break;
                }
                lock(&shared.sockets).extend(socket.try_clone());
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // An error here means that the client or the server closed the connection.
                    let _ = converse(&shared, socket);
                });
            }
        });
        proxy
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests received, in order.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }

    /// The first lines of these heads, without the HTTP version.
    pub fn asked(&self) -> Vec<String> {
        let line = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        self.heads().iter().map(|head| line(head).replace(" HTTP/1.1", "")).collect()
    }

    /// The number of connections received.
    pub fn connections(&self) -> usize {
        lock(&self.shared.received).len()
    }

    /// Whether a client sent these bytes on any connection.
    pub fn has_received(&self, bytes: &str) -> bool {
        let received = lock(&self.shared.received);
        let has = |all: &Vec<u8>| all.windows(bytes.len()).any(|part| part == bytes.as_bytes());
        received.iter().any(has)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for socket in lock(&self.shared.sockets).iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

/// A client's connection that records the bytes read from it.
struct Kept<'a> {
    socket: TcpStream,
    shared: &'a Shared,
    number: usize,
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buffer)?;
        lock(&self.shared.received)[self.number].extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

type Client<'a> = BufReader<Kept<'a>>;

fn converse(shared: &Shared, socket: TcpStream) -> io::Result<()> {
    let number = {
        let mut received = lock(&shared.received);
        received.push(Vec::new());
        received.len() - 1
    };
    let mut client = BufReader::new(Kept { socket: socket.try_clone()?, shared, number });
    if client.fill_buf()?.first() == Some(&5) {
        return socks(shared, &mut client, &socket);
    }
    let mut behind: Option<(String, TcpStream)> = None;
    while let Some(head) = read_head(&mut client)? {
        if !judged(shared, &head, &mut client, &socket)? {
            return Ok(());
        }
        let (method, target) = head.split_once(' ').unwrap_or_default();
        let target = target.split(' ').next().unwrap_or_default();
        if method == "CONNECT" {
            let Some(to) = connect(shared, target) else { return no_gateway(&socket) };
            (&socket).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            return tunnel(&mut client, &socket, &to);
        }
        let Some(rest) = target.strip_prefix("http://") else {
            return (&socket).write_all(b"HTTP/1.1 400 Not Absolute\r\nContent-Length: 0\r\n\r\n");
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let place =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        if behind.as_ref().is_none_or(|(known, _)| *known != place) {
            let Some(to) = connect(shared, &place) else { return no_gateway(&socket) };
            let (from, back) = (to.try_clone()?, socket.try_clone()?);
            std::thread::spawn(move || pass(from, &back));
            behind = Some((place, to));
        }
        let Some((_, to)) = &mut behind else { return Ok(()) };
        let is_own = |line: &&str| line.to_ascii_lowercase().starts_with("proxy-");
        let mut lines = head.split("\r\n").filter(|line| !is_own(line));
        lines.next();
        let rest: Vec<_> = lines.collect();
        to.write_all(format!("{method} {path} HTTP/1.1\r\n{}", rest.join("\r\n")).as_bytes())?;
        let length = rest.iter().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        });
        io::copy(&mut (&mut client).take(length.unwrap_or(0)), to)?;
    }
    Ok(())
}

/// Reads up to the empty line; `None` at the end of the connection.
fn read_head(client: &mut Client<'_>) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Records a head and asks the script about it. Returns whether to forward the request.
fn judged(
    shared: &Shared,
    head: &str,
    client: &mut Client<'_>,
    mut socket: &TcpStream,
) -> io::Result<bool> {
    lock(&shared.heads).push(head.to_owned());
    match (shared.script)(head) {
        Verdict::Pass => return Ok(true),
        Verdict::Answer(bytes) => {
            socket.write_all(&bytes)?;
            socket.shutdown(Shutdown::Write)?;
        }
        Verdict::Hang => {}
    }
    // Waits until the client closes the connection.
    io::copy(client, &mut io::sink())?;
    Ok(false)
}

fn connect(shared: &Shared, place: &str) -> Option<TcpStream> {
    TcpStream::connect(shared.hosts.get(place)?).ok()
}

fn no_gateway(mut socket: &TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")?;
    socket.shutdown(Shutdown::Write)
}

/// Copies all bytes in both directions, until both ends have closed.
fn tunnel(client: &mut Client<'_>, socket: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let (from, back) = (to.try_clone()?, socket.try_clone()?);
    let way_back = std::thread::spawn(move || pass(from, &back));
    let _ = io::copy(client, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = way_back.join();
    Ok(())
}

/// Copies all bytes in one direction, until the sender closes.
fn pass(mut from: TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// SOCKS 5 (RFC 1928), with name and password (RFC 1929) if the client offers that method.
fn socks(shared: &Shared, client: &mut Client<'_>, mut socket: &TcpStream) -> io::Result<()> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).map(|()| bytes)
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let methods = usize::from(take(2)?[1]);
    let mut login = String::new();
    if take(methods)?.contains(&2) {
        socket.write_all(&[5, 2])?;
        let length = usize::from(take(2)?[1]);
        let user = text(take(length)?);
        let length = usize::from(take(1)?[0]);
        login = format!(" {user}:{}", text(take(length)?));
        socket.write_all(&[1, 0])?;
    } else {
        socket.write_all(&[5, 0])?;
    }
    let host = match take(4)?[3] {
        3 => {
            let length = usize::from(take(1)?[0]);
            text(take(length)?)
        }
        kind => format!("an address of the kind {kind}"),
    };
    let port = take(2)?;
    let place = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
    if !judged(shared, &format!("SOCKS {place}{login}"), client, socket)? {
        return Ok(());
    }
    let Some(to) = connect(shared, &place) else {
        return socket.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    tunnel(client, socket, &to)
}
