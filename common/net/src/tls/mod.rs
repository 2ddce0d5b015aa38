// SPDX-License-Identifier: Apache-2.0
//! TLS: whom to trust, who the user is by certificate, and what went wrong, in words.
//!
//! | module | owns |
//! |---|---|
//! | `certificates` | certificates and keys in files |
//! | `host_certificates` | the certificates that `certs.d` keeps for a host |
//! | `trust` | the authorities that are trusted |
//! | `secure` | the connection |
//! | `verifier` | the host made sure of |
//! | `der` | the fields of a certificate that are needed |
//! | `history` | what must not be forgotten of a host: that it has spoken TLS |
//! | `failure` | why there is no connection |
//!
//! Not here: which connection serves a URL, which is [`pool`](crate::pool)'s.

pub(super) mod certificates;

mod der;
pub(super) mod failure;
pub(super) mod history;
pub(super) mod host_certificates;
pub(super) mod secure;
pub(super) mod trust;
mod verifier;

pub use failure::lacking;
