// SPDX-License-Identifier: Apache-2.0
//! Several tools together: pipelines, and all that README and manual show.

mod build_image;
mod demo;
mod layering;
mod make;
mod pipeline;
mod readme;
