// SPDX-License-Identifier: Apache-2.0
//! Mirrors: their configuration, and the requests that go to them.

mod configured;
mod files;
mod hosts_toml;
mod named;
