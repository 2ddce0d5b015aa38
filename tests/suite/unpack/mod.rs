// SPDX-License-Identifier: Apache-2.0
//! The results of unpacking layers, including hostile ones.

mod arriving;
mod attributes;
mod faults;
mod fuzz;
mod hardlinks;
mod layer;
mod limits;
mod marker_order;
mod mounts;
mod names;
mod not_a_layer;
mod overlay;
mod parser;
mod races;
mod same_image;
mod sparse;
mod steps;
mod streams;
mod symlinks;
mod types;
mod whiteouts;
