// SPDX-License-Identifier: Apache-2.0
//! The suite: one program, a folder a subject, a file a part of it. README.md says where a case
//! goes.

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
