// SPDX-License-Identifier: Apache-2.0
//! A tree of files: what is in it, in the archive's order, and how it differs from another one.
//!
//! `walk` goes through it by `listing`s of directories and gives each `node`, with its `xattrs`.
//! `links` knows which names are one file, `changes` compares nodes, `failure` has the errors of a
//! tree that changes meanwhile. Not here: archives, and what goes into one.

mod changes;
mod failure;
mod links;
mod listing;
mod node;
mod walk;
mod xattrs;

pub(crate) use changes::is_same;
pub(crate) use failure::{changed, changed_from};
pub(crate) use links::{Firsts, LinkChanges, may_have_others};
pub(crate) use node::{Inode, Node};
pub(crate) use walk::{Step, Walk, shown};
