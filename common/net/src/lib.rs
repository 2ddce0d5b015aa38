// SPDX-License-Identifier: Apache-2.0
//! One exchange with a server that may lie.
//!
//! | module | owns |
//! |---|---|
//! | [`client`] | what holds for a whole run |
//! | [`peer`], [`origin`] | what holds for one origin alone |
//! | [`url`], `form` | URLs, and the decision on every one that a server supplies |
//! | [`endpoint`] | whether a host speaks TLS |
//! | [`request`], [`response`] | what is sent, and what is received |
//! | [`exchange`], `pool`, `connection` | one request and its answer, over connections that are kept |
//! | [`failure`], `classify`, [`retry`] | a failed attempt, why it failed, and when to try again |
//! | [`redirect`] | from hop to hop |
//! | [`tls`], [`proxy`] | trust, client certificates, proxies |
//! | [`trace`] | the conversation as curl commands |
//!
//! Not here: what a registry's answers mean, challenges and tokens (crate `registry`), and which
//! credentials there are (crate `machine`). Start reading at [`peer`]; a redirect is judged by
//! [`url::decide`].

pub mod basic;
mod classify;
pub mod client;
mod connection;
pub mod endpoint;
pub mod exchange;
pub mod failure;
pub mod form;
pub mod origin;
pub mod peer;
mod pool;
pub mod proxy;
pub mod redirect;
pub mod request;
pub mod response;
pub mod retry;
pub mod tls;
pub mod trace;
pub mod url;
