// SPDX-License-Identifier: Apache-2.0
//! The suite as one program: a folder per subject, a file per part of it. README.md lists where a
//! test belongs.

mod auth;
mod fidelity;
mod ground;
mod mirrors;
mod network;
mod push;
mod tls;
mod tools;
mod trace;
mod unpack;
mod whole;
