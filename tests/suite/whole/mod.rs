// SPDX-License-Identifier: Apache-2.0
//! Several tools together: pipelines, and all that README and manual show.

mod build_image;
mod layering;
mod pipeline;
mod readme;

#[path = "."]
mod with_peers {
    mod demo;
    mod make;
}
