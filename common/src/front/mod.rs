// SPDX-License-Identifier: Apache-2.0
//! Where a tool meets its caller: the command line, the error line, the exit status.

pub mod cli;
pub mod exit;
#[cfg(feature = "registry")]
pub mod interrupt;
#[cfg(feature = "registry")]
mod login;
#[cfg(feature = "registry")]
pub mod progress;
