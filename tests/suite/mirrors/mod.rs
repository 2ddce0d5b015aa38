// SPDX-License-Identifier: Apache-2.0
//! Mirrors: where they are configured, and which requests go to them.

mod configured;
mod files;
mod hosts_toml;
mod named;
