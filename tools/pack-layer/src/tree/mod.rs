// SPDX-License-Identifier: Apache-2.0
//! A tree of files: lists its files in the archive's order, and compares it with another tree.
//!
//! `walk` visits the files of a tree with the help of `listing`, which sorts one directory. Each
//! file is a `node`, with its extended attributes from `xattrs`. `links` finds the names that refer
//! to the same file, `changes` compares nodes, and `failure` has the errors of a tree that changes
//! while it is read. Not here: archives, and the choice of the files for one.

mod changes;
mod failure;
mod links;
mod listing;
mod node;
mod walk;
mod xattrs;

pub(crate) use changes::is_same;
pub(crate) use failure::{changed, changed_from};
pub(crate) use links::{FirstNames, LinkChanges, may_have_others};
pub(crate) use node::{Inode, Node};
pub(crate) use walk::{Step, Walk, shown};
