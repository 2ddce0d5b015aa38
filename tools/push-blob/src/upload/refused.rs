// SPDX-License-Identifier: Apache-2.0
//! Refused requests of an upload, classified by the recovery that is possible.

use common::error::Error;
use net::failure::Failure;
use net::response::Response;
use registry::answer;

/// The reason why the registry refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The session does not exist any more: it was closed, expired or cancelled.
    Gone,
    /// The bytes do not begin at the session's offset.
    OutOfOrder,
    /// The body is larger than the registry, or a proxy in front of it, accepts.
    TooLarge,
    /// The blob does not match its digest.
    Invalid,
    /// The registry does not support this way of sending.
    Unsupported,
    /// Any other reason. The failure describes it.
    Failed,
}

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The reason, which decides how the upload continues.
    pub(crate) why: Why,
    /// The error to report if the upload cannot continue, and whether a retry may help.
    pub(crate) failure: Failure,
}

impl Refused {
    /// A refusal for which waiting does not help.
    pub(super) fn new(why: Why, error: Error) -> Refused {
        Refused { why, failure: Failure::from(error) }
    }
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

/// Classifies a response that is not a success. `what` names the blob or the upload in messages.
pub(super) fn refused(response: Response, what: &str) -> Refused {
    let status = response.status.as_u16();
    if (300..400).contains(&status) {
        let what = format_args!("{what}: unexpected status {status}");
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
        (500.., "DIGEST_INVALID" | "SIZE_INVALID") => Why::Invalid,
        (400 | 405 | 411 | 501, _) => Why::Unsupported,
        _ => Why::Failed,
    };
    Refused { why, failure }
}
