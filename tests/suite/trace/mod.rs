// SPDX-License-Identifier: Apache-2.0
//! What `--trace` says, run again.

mod pull;
mod push;
mod secrets;
