// SPDX-License-Identifier: Apache-2.0
//! Makes an exchange and writes its block of the trace. A short payload is copied while it is sent,
//! because the command contains it.

use std::io::{self, Read};

use super::command::{Body, Exchange, Traced};
use super::text;
use super::transcript::Trace;
use crate::failure::Failure;
use crate::request::{Payload, Request};
use crate::response::{Measured, Response};
use crate::timing::{self, Timing};

/// Makes an exchange by calling `send`, writes its block, and returns the result of `send`.
///
/// # Errors
/// The failure of `send`.
pub(crate) fn exchange(
    trace: &Trace,
    traced: Traced<'_>,
    payload: &mut Payload<'_>,
    send: impl FnOnce(&mut Payload<'_>) -> Result<Response, Failure>,
) -> Result<Response, Failure> {
    let outer = timing::begin();
    let (mut outcome, copy);
    let body = match payload {
        Payload::Stream { reader, length } if *length <= text::MAX_INLINE => {
            let mut copying = Copying { reader: &mut **reader, copy: Vec::new() };
            outcome = send(&mut Payload::Stream { reader: &mut copying, length: *length });
            copy = copying.copy;
            // If sending stopped early, the command shows only the length.
            if copy.len() as u64 == *length { Body::Bytes(&copy) } else { Body::File(*length) }
        }
        payload => {
            outcome = send(payload);
            match payload {
                Payload::None => Body::None,
                Payload::Bytes(bytes) => Body::Bytes(bytes),
                Payload::Stream { length, .. } => Body::File(*length),
            }
        }
    };
    let timing = timing::end(outer);
    let exchange = Exchange { traced, body, outcome: &outcome, timing };
    trace.block(|names| exchange.render(names));
    if let (Ok(response), Some(Timing { start, .. })) = (&mut outcome, timing) {
        let Request { method, url, .. } = traced.request;
        let place = text::place(&url.uri().to_string(), url);
        let what = format!("{} {place}", method.name());
        response.body.measure(Measured { trace: trace.clone(), start, what, bytes: 0 });
    }
    outcome
}

/// A reader that keeps a copy of the bytes it returns.
struct Copying<'a> {
    reader: &'a mut dyn Read,
    copy: Vec<u8>,
}

impl Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.copy.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}
