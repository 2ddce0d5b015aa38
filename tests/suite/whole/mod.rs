// SPDX-License-Identifier: Apache-2.0
//! Several tools together: pipelines, and the examples of the README and the manual.

mod all_tags;
mod clock;
mod completions;
mod early;
mod fault_table;
mod layering;
mod names;
mod pipeline;
mod tables;

#[path = "."]
mod with_peers {
    mod build_image;
    mod debug;
    mod demo;
    mod installing;
    mod make;
    mod many_machines;
    pub(super) mod readme;
    mod recipes;
    mod recipes_hostile;
}
