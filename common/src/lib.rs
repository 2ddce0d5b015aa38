// SPDX-License-Identifier: Apache-2.0
//! What the regutils tools share. Lowest first; an arrow may only point down.
//!
//! | layer | modules | knows |
//! |---|---|---|
//! | [`words`] | error, notice, secret, shell, digest, json, mediatype, platform, descriptor, manifest, schema1, reference | text and bytes; no files, sockets, clock, environment |
//! | [`streams`] | stdio, verify, growing, output, parallel, lines, layout, ingest, tarball, compress (feature) | files; no network |
//! | `registry` (feature) | url, host, settings, tls, proxy, http, redirect, credentials, auth, mirrors, endpoint, trace, then blob, manifest, tags, then upload, put, push, then places | the network |
//! | `store` | store, source | one enum over registry and layout: what a tool holds, and where a blob's bytes are |
//! | [`front`] | exit, interrupt, progress, login, cli | the command line, the error line, the exit status |
//!
//! Deliberately absent: anything that one tool alone needs (it lives in that
//! tool's crate), printing from a library (errors are returned, warnings are
//! collected by [`notice`] and printed by [`exit`]), and async.

pub mod front;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "registry")]
pub mod store;
pub mod streams;
pub mod words;

pub use front::{cli, exit};
#[cfg(feature = "registry")]
pub use front::{interrupt, progress};
#[cfg(feature = "registry")]
pub use store::source;
#[cfg(feature = "compress")]
pub use streams::compress;
pub use streams::{growing, ingest, layout, lines, output, parallel, stdio, tarball, verify};
pub use words::{
    descriptor, digest, error, json, manifest, mediatype, notice, platform, reference, schema1,
    secret, shell,
};
