// SPDX-License-Identifier: Apache-2.0
//! TLS: trusted authorities, client certificates, and error messages.
//!
//! | module | owns |
//! |---|---|
//! | `certificates` | certificates and keys in files |
//! | `bundle` | the usual form of such files, read fast |
//! | `host_certificates` | the certificates for a host in `certs.d` |
//! | `trust` | the trusted authorities |
//! | `secure` | the TLS connection |
//! | `verifier` | the check of a server's certificate |
//! | `algorithms` | the algorithms for signatures |
//! | `exchange` | key exchange by P-521 |
//! | `names` | names of algorithms and errors, for messages |
//! | `der` | the fields of a certificate that are needed here |
//! | `distinguished_name` | the text of a name in a certificate |
//! | [`presented`] | the certificates that servers presented, to be shown |
//! | `failure` | why a connection failed |
//!
//! Not here: the choice of a connection for a URL, in [`pool`](crate::pool).

mod algorithms;
mod bundle;
pub(super) mod certificates;

mod der;
mod distinguished_name;
mod exchange;
pub(super) mod failure;
pub(super) mod host_certificates;
mod names;
pub mod presented;
pub(super) mod secure;
pub(super) mod trust;
mod verifier;
