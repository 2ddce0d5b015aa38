// SPDX-License-Identifier: Apache-2.0
//! The types and rules that all tools share.
//!
//! - Data and text rules, without files, sockets, clock or environment: [`digest`], [`descriptor`],
//!   [`mediatype`], [`layers`], [`platform`], [`mod@reference`], [`host`], [`manifest`],
//!   [`selection`], [`schema1`], [`json`], [`error`], [`notice`], [`secret`], [`shell`],
//!   [`calendar`], [`human`].
//! - Streams and files: [`stdio`], [`terminal`], [`screen`], [`lines`], [`line_output`],
//!   [`verify`], [`tempfile`], [`output`], [`state`], [`parallel`].
//! - Start and end of a tool: [`cli`], [`exit`], [`interrupt`], [`progress`]. Parts of the tools
//!   that build manifests: [`building`].
//!
//! Not here: the network, the image layout, archives and compression (each has its own crate), code
//! that only one tool needs (it belongs in that tool's crate), and async. Libraries do not print:
//! they return errors and collect warnings with [`notice`], and [`exit`] prints both. Start reading
//! at [`descriptor`].

pub mod building;
pub mod calendar;
pub mod cli;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod exit;
mod familiar;
pub mod host;
pub mod human;
pub mod interrupt;
pub mod json;
pub mod layers;
pub mod line_output;
pub mod lines;
pub mod manifest;
pub mod mediatype;
pub mod notice;
mod operands;
pub mod output;
pub mod parallel;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod referrers;
pub mod schema1;
pub mod screen;
pub mod secret;
pub mod selection;
pub mod shell;
pub mod state;
pub mod stdio;
pub mod tempfile;
pub mod terminal;
mod transports;
mod usage;
pub mod verify;
pub mod workfile;
