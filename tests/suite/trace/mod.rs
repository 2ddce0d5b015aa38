// SPDX-License-Identifier: Apache-2.0
//! `--trace` output, run as a script.

mod pull;
mod push;
mod secrets;
mod timing;
