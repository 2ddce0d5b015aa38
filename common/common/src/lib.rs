// SPDX-License-Identifier: Apache-2.0
//! What every tool says and means.
//!
//! - Words, without files, sockets, clock or environment: [`digest`], [`descriptor`], [`mediatype`], [`platform`],
//!   [`mod@reference`], [`host`], [`manifest`], [`schema1`], [`json`], [`error`], [`notice`],
//!   [`secret`], [`shell`].
//! - Streams and files: [`stdio`], [`lines`], [`verify`], [`tempfile`], [`output`], [`parallel`].
//! - How a tool begins and ends: [`cli`], [`exit`], [`progress`].
//!
//! Deliberately absent: the network, the image layout, archives and compression (crates of their
//! own), anything that one tool alone needs (it lives in that tool's crate), printing from a
//! library (errors are returned, warnings are collected by [`notice`] and printed by [`exit`]), and
//! async. Start reading at [`descriptor`].

pub mod cli;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod exit;
pub mod host;
pub mod json;
pub mod lines;
pub mod manifest;
pub mod mediatype;
pub mod notice;
pub mod output;
pub mod parallel;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod schema1;
pub mod secret;
pub mod shell;
pub mod stdio;
pub mod tempfile;
pub mod verify;
