// SPDX-License-Identifier: Apache-2.0
//! HTTP exchanges with servers that are not trusted.
//!
//! Each URL that a server supplies passes one check, [`url::decide`]. Credentials, headers and
//! client certificates belong to the [`peer`] of one origin and are never sent to another origin.
//!
//! | module | owns |
//! |---|---|
//! | [`client`] | settings of the run |
//! | [`peer`], [`origin`] | settings and secrets of one origin |
//! | [`url`], [`form`], [`basic`] | URLs, their encoding, and the header of Basic authentication |
//! | [`endpoint`] | whether a host uses TLS |
//! | [`request`], [`response`] | one request, one response |
//! | [`exchange`], `pool`, `connection` | one request and its response, over reused connections |
//! | [`failure`], `classify`, [`retry`] | failed attempts, and when to retry |
//! | [`advice`] | hints that name options |
//! | `history` | hosts that answered, or used TLS, in this run |
//! | [`redirect`] | following redirects |
//! | [`tls`], [`proxy`] | trust, client certificates, proxies |
//! | `timing` | how long an exchange takes, and over which connection |
//! | [`trace`] | the requests and responses as curl commands |
//!
//! Not here: the meaning of a registry's responses, challenges and tokens (crate `registry`); the
//! files with credentials and other settings (crate `machine`). Start reading at [`peer`].

pub mod advice;
pub mod basic;
mod classify;
pub mod client;
mod connection;
pub mod endpoint;
pub mod exchange;
pub mod failure;
pub mod form;
mod history;
pub mod origin;
pub mod peer;
mod pool;
pub mod proxy;
pub mod redirect;
pub mod request;
pub mod response;
pub mod retry;
mod timing;
pub mod tls;
pub mod trace;
pub mod url;
