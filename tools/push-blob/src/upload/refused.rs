// SPDX-License-Identifier: Apache-2.0
//! Refusals of an upload's requests, sorted by what can be done about them.

use common::error::Error;
use net::failure::Failure;
use net::response::Response;
use registry::answer;

/// Why the registry did not take what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The session is gone: ended, expired or taken away.
    Gone,
    /// The bytes do not continue what it has.
    OutOfOrder,
    /// More at once than it, or a proxy before it, takes.
    TooLarge,
    /// The whole is not what its digest says.
    Invalid,
    /// It does not understand this way of sending.
    Unsupported,
    /// Anything else: the failure says.
    Failed,
}

/// A refusal: why, to decide how the upload continues; and in words, to report if it cannot.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub(crate) why: Why,
    /// In words, and whether it may pass.
    pub(crate) failure: Failure,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused { why: Why::Failed, failure }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Failure::from(error).into()
    }
}

/// Understands an answer that is no success: `what` names the blob or upload in messages.
pub(super) fn refused(response: Response, what: &str) -> Refused {
    let status = response.status.as_u16();
    if (300..400).contains(&status) {
        let what = format_args!("{what}: unexpected answer {status}");
        return Error::malformed(what).into();
    }
    let (failure, body) = answer::failure_with_body(response, what);
    let message = body.message.to_ascii_lowercase();
    let why = match (status, body.code.as_str()) {
        (413, _) => Why::TooLarge,
        (416, _) if message.contains("too large") || message.contains("exceeds") => Why::TooLarge,
        (416, _) | (_, "RANGE_INVALID") => Why::OutOfOrder,
        (404, "NAME_UNKNOWN") => Why::Failed,
        (404 | 410, _) | (_, "BLOB_UPLOAD_UNKNOWN") => Why::Gone,
        (400, "DIGEST_INVALID" | "SIZE_INVALID" | "BLOB_UPLOAD_INVALID") => Why::Invalid,
        (400 | 405 | 411 | 501, _) => Why::Unsupported,
        _ => Why::Failed,
    };
    Refused { why, failure }
}
