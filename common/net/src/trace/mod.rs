// SPDX-License-Identifier: Apache-2.0
//! The conversation with registries, as curl commands that can be run again.
//!
//! | module | owns |
//! |---|---|
//! | `text` | comments, and parts of commands |
//! | `names` | the variables that stand for secrets, files and places |
//! | [`transcript`] | where the trace is written, and the last check for secrets |
//! | `command` | one exchange as a command |
//! | `block` | an exchange and its block of the trace |
//!
//! Each exchange is one block, written as a whole when the head of its answer has arrived or when
//! it failed: what the variables in it stand for, the command, the answer. So blocks of several
//! connections never mix, and each variable is set before it is used. No block shows a secret: a
//! command has `$REGISTRY_TOKEN` and the like instead. A command that would show one all the same
//! is left out.
//!
//! Not here: which file or terminal gets the blocks. That is `common::exit`'s.

pub(crate) mod block;
pub(crate) mod command;
mod names;
mod text;
pub mod transcript;
