// SPDX-License-Identifier: Apache-2.0
//! The output for people on a terminal, and the progress for programs.

mod json;
mod resumed;

#[path = "."]
mod with_peers {
    mod screens;
}
