// SPDX-License-Identifier: Apache-2.0
//! Blobs and manifests on their way into a registry, and what goes wrong there.

mod bytes;
mod faults;
mod lines;
mod manifest_faults;
mod mount;
mod resume;
mod start;
mod stopped;
