// SPDX-License-Identifier: Apache-2.0
//! What people see on a terminal, and progress for programs.

mod json;

#[path = "."]
mod with_peers {
    mod screens;
}
