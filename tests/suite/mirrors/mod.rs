// SPDX-License-Identifier: Apache-2.0
//! Other places that have the same: who names them, and what is asked of them.

mod configured;
mod files;
mod hosts_toml;
mod named;
