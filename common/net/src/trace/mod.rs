// SPDX-License-Identifier: Apache-2.0
//! The trace: the requests of a run as curl commands that the user can repeat, with the responses
//! as comments.
//!
//! | module | owns |
//! |---|---|
//! | `text` | comments, and parts of commands |
//! | `names` | the shell variables for secrets, files and URLs |
//! | [`transcript`] | the output of the trace, and the last check for secrets |
//! | `command` | one exchange as a command |
//! | `block` | an exchange and its block of the trace |
//!
//! Each exchange is one block. It consists of the explanations of new variables, the command, and
//! the response. The block is written in one piece, when the head of the response has arrived or
//! the exchange has failed. Therefore blocks of several connections never mix, and each variable is
//! set before it is used.
//!
//! Blocks never show a secret: commands use variables such as `$REGISTRY_TOKEN`. As a last check, a
//! line that contains a secret is left out.
//!
//! Not here: the choice of the file or terminal that the trace goes to (`common::exit`).

pub(crate) mod block;
pub(crate) mod command;
mod names;
mod text;
pub mod transcript;
