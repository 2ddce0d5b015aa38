// SPDX-License-Identifier: Apache-2.0
//! Sending a response, with the faults that it describes.

use std::io::{self, Write};
use std::time::Duration;

use super::reply::{Body, End, Event, Length, Reply};
use super::wire::{Wire, stall};
use super::{Request, Shared};

/// Sends a response. Returns the way in which the connection must end, or `None` if it stays open.
pub(super) fn send(
    shared: &Shared,
    wire: &mut Wire,
    request: &Request,
    reply: &Reply,
) -> io::Result<Option<End>> {
    if reply.held {
        stall(shared);
    }
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
    let must_close = match (&reply.length, &reply.body) {
        (Length::Right | Length::Chunked { .. }, _) => false,
        (Length::Missing, _) => true,
        // The connection stays open if the body is longer than Content-Length, because the excess
        // bytes can do harm only on an open connection.
        (Length::Text(texts), Body::Bytes { part, .. }) => {
            !texts[0].parse().is_ok_and(|length: usize| length < part.len())
        }
        (Length::Text(_), Body::Endless(_)) => true,
    };
    Ok((reply.close || (has_body && must_close)).then_some(End::Fin))
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
        // The bytes still to be sent, limited to a piece, a chunk, or the position of the event.
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
