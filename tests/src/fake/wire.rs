// SPDX-License-Identifier: Apache-2.0
//! One connection of the scripted server: reading requests, sending replies, and every kind of end.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::framing::Framing;
use super::intake::{Intake, Then};
use super::reply::{End, Event, Reply};
use super::send::send;
use super::{Request, Shared, lock};

/// The maximum length of a request's head.
const MAX_HEAD: usize = 256 * 1024;

pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// The client certificate, in DER.
    fn client_certificate(&self) -> Option<Vec<u8>> {
        match self {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// Closes the connection properly: with a close_notify under TLS, and without a reset, even if
    /// the client is still sending.
    fn close(mut self) {
        if let Wire::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        self.hang_up();
    }

    /// Closes the connection without a close_notify, and without a reset.
    fn hang_up(&self) {
        let _ = self.socket().shutdown(Shutdown::Write);
        let _ = io::copy(&mut self.socket(), &mut io::sink());
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// Serves one connection, request after request.
pub(super) fn converse(
    shared: &Shared,
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let wire = match tls {
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            Wire::Tls(Box::new(StreamOwned::new(connection, socket)))
        }
        None => Wire::Plain(socket),
    };
    let mut wire = BufReader::with_capacity(64 * 1024, wire);
    let mut connection = None;
    loop {
        let Some(head) = read_head(&mut wire)? else { return Ok(()) };
        let Some(mut request) = Request::parse(&head) else {
            // Not HTTP: most likely a TLS ClientHello to a server without TLS.
            wire.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            wire.into_inner().close();
            return Ok(());
        };
        let number =
            *connection.get_or_insert_with(|| shared.connections.fetch_add(1, Ordering::SeqCst));
        request.client_certificate = wire.get_ref().client_certificate();
        record(shared, &mut request, number);
        let intake = shared.serve.arriving(&request);
        wire.get_mut().write_all(&intake.before)?;
        let is_early = matches!(intake.event, Some((0, Then::Answer(..))));
        if request.header("expect").is_some() && !intake.silent && !is_early {
            wire.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let instead = intake.instead.clone();
        let taken = take_body(shared, &mut wire, &mut request, intake);
        request.whole = matches!(taken, Ok(Taken::Whole));
        update(shared, &request);
        let (reply, end) = match taken {
            Ok(Taken::Whole) => match instead {
                Some(reply) => (*reply, None),
                None => (shared.serve.answer(&request), None),
            },
            Ok(Taken::Answer(reply, end)) => (*reply, Some(end)),
            Ok(Taken::End(end)) => {
                shared.serve.broken(&request);
                return finish(shared, wire, end);
            }
            Err(cause) => {
                shared.serve.broken(&request);
                return Err(cause);
            }
        };
        let ended = send(shared, wire.get_mut(), &request, &reply)?;
        match end.or(ended) {
            None => {}
            Some(End::Fin) if matches!(reply.event, Some((_, Event::End(_)))) => {
                return wire.get_ref().socket().shutdown(Shutdown::Write);
            }
            // Closing a socket with unread bytes makes the kernel send a reset after the response.
            Some(End::Reset) if end.is_some() => {
                return forget(shared, wire.get_ref().socket());
            }
            Some(end) => return finish(shared, wire, end),
        }
    }
}

/// Ends a connection.
fn finish(shared: &Shared, wire: BufReader<Wire>, end: End) -> io::Result<()> {
    match end {
        End::Fin => wire.get_ref().hang_up(),
        End::Reset => {
            let socket = wire.get_ref().socket();
            rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
            forget(shared, socket)?;
        }
        End::Garbled => {
            // A TLS record of 32 bytes that decrypts to nothing valid.
            let mut record = vec![0x17, 3, 3, 0, 32];
            record.resize(5 + 32, 0xff);
            wire.get_ref().socket().write_all(&record)?;
            wire.get_ref().hang_up();
        }
    }
    Ok(())
}

/// Drops the server's clone of the socket, which would keep the connection open.
fn forget(shared: &Shared, socket: &TcpStream) -> io::Result<()> {
    let own = socket.peer_addr()?;
    lock(&shared.sockets).retain(|s| s.peer_addr().is_ok_and(|peer| peer != own));
    Ok(())
}

/// Records a request whose head has arrived.
fn record(shared: &Shared, request: &mut Request, connection: usize) {
    let mut requests = lock(&shared.requests);
    request.serial = shared.serial.fetch_add(1, Ordering::SeqCst);
    request.connection = connection;
    request.number = requests.len();
    let same = |r: &&Request| r.method == request.method && r.path == request.path;
    request.earlier = requests.iter().filter(same).count();
    requests.push(request.clone());
    shared.arrived.notify_all();
}

/// Updates the record of a request, unless it has been forgotten.
fn update(shared: &Shared, request: &Request) {
    let mut requests = lock(&shared.requests);
    if let Some(kept) = requests.iter_mut().find(|kept| kept.serial == request.serial) {
        kept.clone_from(request);
    }
}

/// Reads up to the empty line; `None` at the end of the connection.
fn read_head(wire: &mut BufReader<Wire>) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        if wire.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        // 0x16 is the first byte of a TLS record: no HTTP head will follow.
        if head[0] == 0x16 {
            break;
        }
    }
    Ok(Some(head))
}

/// The result of reading a request's body.
enum Taken {
    Whole,
    Answer(Box<Reply>, End),
    End(End),
}

/// Reads a body as the intake describes. The bytes go to [`Serve::take`](super::Serve::take) or to
/// the request.
fn take_body(
    shared: &Shared,
    wire: &mut BufReader<Wire>,
    request: &mut Request,
    intake: Intake,
) -> io::Result<Taken> {
    let mut framing = Framing::of(request)?;
    let delivers = intake.delivers();
    let mut event = intake.event;
    loop {
        let before_event = match event.take() {
            Some((at, then)) if at <= request.received => match then {
                Then::Stall => {
                    update(shared, request);
                    stall(shared);
                    u64::MAX
                }
                Then::End(end) => return Ok(Taken::End(end)),
                Then::Answer(reply, end) => return Ok(Taken::Answer(reply, end)),
            },
            Some((at, then)) => {
                let left = at - request.received;
                event = Some((at, then));
                left
            }
            None => u64::MAX,
        };
        let bytes = framing.fill(wire, before_event)?;
        let len = bytes.len();
        if len == 0 {
            return Ok(Taken::Whole);
        }
        request.received += len as u64;
        if delivers && !shared.serve.take(request, bytes) {
            request.body.extend_from_slice(bytes);
        }
        framing.consume(wire, len)?;
    }
}

pub(super) fn stall(shared: &Shared) {
    shared.stalled.fetch_add(1, Ordering::SeqCst);
    let released = lock(&shared.released);
    let wait = shared.release.wait_while(released, |released| !*released);
    drop(wait.unwrap_or_else(PoisonError::into_inner));
}
