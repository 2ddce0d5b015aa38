// SPDX-License-Identifier: Apache-2.0
//! One connection of the scripted server: requests read, replies sent, ends of every kind.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::reply::{Body, End, Event, Length, Reply};
use super::{Request, Shared, lock};

/// The longest request head that is read.
const MAX_HEAD: usize = 256 * 1024;

enum Wire {
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

    /// Ends politely: with a close_notify under TLS, and without a reset should the client still
    /// be sending.
    fn close(mut self) {
        if let Wire::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
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

/// One connection, request after request.
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
            // Not HTTP: a TLS greeting to a plain server, most likely.
            wire.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            wire.into_inner().close();
            return Ok(());
        };
        if request.header("expect").is_some() {
            wire.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body = read_body(&mut wire, &request)?;
        request.connection =
            *connection.get_or_insert_with(|| shared.connections.fetch_add(1, Ordering::SeqCst));
        let request = record(shared, request);
        let reply = (shared.script)(&request);
        match send(shared, wire.get_mut(), &request, &reply)? {
            None => {}
            Some(End::Fin) if matches!(reply.event, Some((_, Event::End(_)))) => {
                return wire.get_ref().socket().shutdown(Shutdown::Write);
            }
            Some(End::Fin) => {
                wire.into_inner().close();
                return Ok(());
            }
            Some(End::Reset) => {
                let socket = wire.get_ref().socket();
                rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
                // The clone kept for the server's end would hold the connection open.
                let own = socket.peer_addr()?;
                lock(&shared.sockets).retain(|s| s.peer_addr().is_ok_and(|peer| peer != own));
                return Ok(());
            }
        }
    }
}

fn record(shared: &Shared, mut request: Request) -> Request {
    let mut requests = lock(&shared.requests);
    request.number = requests.len();
    let same = |r: &&Request| r.method == request.method && r.path == request.path;
    request.earlier = requests.iter().filter(same).count();
    requests.push(request.clone());
    shared.arrived.notify_all();
    request
}

/// Up to the empty line; nothing at the end of the connection.
fn read_head(wire: &mut BufReader<Wire>) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        if wire.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        // The first byte of a TLS record: the rest will not come.
        if head[0] == 0x16 {
            break;
        }
    }
    Ok(Some(head))
}

fn read_body(wire: &mut BufReader<Wire>, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = request.header("content-length") {
        let length: u64 = length.parse().map_err(io::Error::other)?;
        wire.take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let line = read_line(wire)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            wire.take(size).read_to_end(&mut body)?;
            read_line(wire)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(body)
}

fn read_line(wire: &mut BufReader<Wire>) -> io::Result<String> {
    let mut line = String::new();
    match io::BufRead::read_line(&mut wire.take(1024), &mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

/// Sends an answer. Says how the connection has to end, when it has to.
fn send(
    shared: &Shared,
    wire: &mut Wire,
    request: &Request,
    reply: &Reply,
) -> io::Result<Option<End>> {
    if let Some(raw) = &reply.raw {
        wire.write_all(raw)?;
        wire.flush()?;
        return match reply.event {
            Some((_, Event::End(end))) => Ok(Some(end)),
            _ => Ok(Some(End::Fin)),
        };
    }
    let mut head = reply.head();
    if reply.endless_headers {
        wire.write_all(&head)?;
        loop {
            wire.write_all(&b"X-More: and more\r\n".repeat(512))?;
        }
    }
    head.extend_from_slice(b"\r\n");
    wire.write_all(&head)?;
    wire.flush()?;
    let has_body = request.method != "HEAD" && !matches!(reply.status, 100..200 | 204 | 304);
    if has_body {
        let mut sent = 0;
        if let Some(end) = send_body(shared, wire, reply, &mut sent)? {
            return Ok(Some(end));
        }
    }
    wire.flush()?;
    let over = match (&reply.length, &reply.body) {
        (Length::Told | Length::Chunked { .. }, _) => false,
        (Length::Untold, _) => true,
        // Bytes behind the length that was said are only a danger while the connection lives.
        (Length::Said(said), Body::Bytes { part, .. }) => {
            !said[0].parse().is_ok_and(|said: usize| said < part.len())
        }
        (Length::Said(_), Body::Endless(_)) => true,
    };
    Ok((reply.close || (has_body && over)).then_some(End::Fin))
}

fn send_body(
    shared: &Shared,
    wire: &mut Wire,
    reply: &Reply,
    sent: &mut u64,
) -> io::Result<Option<End>> {
    let (piece, pause) = reply.drip.unwrap_or((64 * 1024, Duration::ZERO));
    let mut chunk_number = 0;
    loop {
        // What is still to be sent, up to a piece, a chunk, or the place where something happens.
        let rest: &[u8] = match &reply.body {
            Body::Bytes { all, part } => &all[part.start + *sent as usize..part.end],
            Body::Endless(pattern) => pattern,
        };
        let mut len = rest.len().min(piece);
        if let Length::Chunked { size, .. } = reply.length {
            len = len.min(size);
        }
        match reply.event {
            Some((at, event)) if at == *sent => match event {
                Event::End(end) => {
                    wire.flush()?;
                    return Ok(Some(end));
                }
                Event::Stall => stall(shared),
            },
            Some((at, _)) if at > *sent => {
                len = len.min(usize::try_from(at - *sent).unwrap_or(usize::MAX));
            }
            _ => {}
        }
        if let Length::Chunked { broken, .. } = reply.length {
            let size = format!("{len:x}\r\n");
            let line = if broken == Some(chunk_number) { "no size\r\n" } else { &size };
            wire.write_all(line.as_bytes())?;
            chunk_number += 1;
        }
        wire.write_all(&rest[..len])?;
        if matches!(reply.length, Length::Chunked { .. }) {
            wire.write_all(b"\r\n")?;
        }
        *sent += len as u64;
        if len == 0 {
            return Ok(None);
        }
        let done = matches!(&reply.body, Body::Bytes { part, .. } if *sent as usize == part.len());
        let event_at_end = reply.event.is_some_and(|(at, _)| at == *sent);
        if done && !event_at_end && !matches!(reply.length, Length::Chunked { .. }) {
            return Ok(None);
        }
        if !pause.is_zero() {
            wire.flush()?;
            std::thread::sleep(pause);
        }
    }
}

fn stall(shared: &Shared) {
    shared.stalled.fetch_add(1, Ordering::SeqCst);
    let released = lock(&shared.released);
    let wait = shared.release.wait_while(released, |released| !*released);
    drop(wait.unwrap_or_else(PoisonError::into_inner));
}
