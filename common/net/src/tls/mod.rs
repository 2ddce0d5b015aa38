// SPDX-License-Identifier: Apache-2.0
//! TLS: whom to trust, who the user is by certificate, and what went wrong, in words.
//!
//! | module | owns |
//! |---|---|
//! | `certificates` | certificates and keys in files |
//! | `certs_d` | what the machine's owner keeps for a host |
//! | `trust` | the authorities that are trusted |
//! | `secure` | the connection |
//! | `verifier` | the host made sure of |
//! | `der` | the fields of a certificate that are needed |
//! | `history` | what must not be forgotten of a host: that it has spoken TLS |
//! | `failure` | why there is no connection |
//!
//! Not here: which connection serves a URL, which is [`pool`](crate::pool)'s.

pub(super) mod certificates;
pub(super) mod certs_d;
mod der;
pub(super) mod failure;
pub(super) mod history;
pub(super) mod secure;
pub(super) mod trust;
mod verifier;

pub use failure::lacking;
