// SPDX-License-Identifier: Apache-2.0
//! The field's words as types: text and bytes in, text and bytes out.
//!
//! Nothing here opens a file or a socket, reads a clock or the environment. What
//! is wrong with a text is returned as a sentence without a status: only the
//! caller knows whether a person typed it (usage) or a server sent it (malformed).

pub mod descriptor;
pub mod digest;
pub mod error;
pub mod json;
pub mod manifest;
pub mod mediatype;
pub mod notice;
pub mod platform;
pub mod reference;
pub mod schema1;
pub mod secret;
pub mod shell;
